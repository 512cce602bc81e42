package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// networks are the file systems of which the bytes lie on another machine, by the type statfs tells (statfs(2)). Those
// that several machines mount from one disk are fast and are not among them.
var networks = map[uint32]string{
	0x6969:     "nfs",
	0x517b:     "smbfs",
	0xff534d42: "cifs",
	0xfe534d42: "smb3",
	0x01021997: "9p",
	0x00c36400: "ceph",
	0x5346414f: "afs",
	0x6b414653: "afs",
	0x73757245: "coda",
	0x0bd00bd0: "lustre",
	0x19830326: "beegfs",
	0x564c:     "ncpfs",
	0x786f4256: "vboxsf",
}

// localFUSE are the file systems in user space that are known to keep their bytes on this machine. Any other is taken for
// a network's: to stage for it costs little, and not to stage for sshfs, rclone and their kind costs much.
var localFUSE = []string{
	"fuseblk", "virtiofs", "fuse.bindfs", "fuse.encfs", "fuse.exfat", "fuse.ext4", "fuse.fuse-overlayfs", "fuse.fuse2fs",
	"fuse.gocryptfs", "fuse.lxcfs", "fuse.mergerfs", "fuse.ntfs-3g", "fuse.overlayfs", "fuse.unionfs", "fuse.vmhgfs-fuse", "fuse.zfs",
}

// foreignVolume reports whether path lies on a network mount, and the mount's kind.
func foreignVolume(path string) (kind string, foreign bool) {
	var st unix.Statfs_t
	var at unix.Stat_t
	if unix.Statfs(path, &st) != nil || unix.Stat(path, &at) != nil {
		return "", false
	}
	if kind, ok := networks[uint32(st.Type)]; ok {
		return kind, true
	}
	if uint32(st.Type) != unix.FUSE_SUPER_MAGIC {
		return "", false
	}
	kind = mountKind(at.Dev)
	return kind, !slices.Contains(localFUSE, kind)
}

// isSSHFS reports whether folder lies on an sshfs mount. SFTP (draft-ietf-secsh-filexfer-02), which that speaks, has no
// requests for some of what a file system does.
func isSSHFS(folder *os.Root) bool {
	f, err := folder.Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	var st unix.Statfs_t
	var at unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil || uint32(st.Type) != unix.FUSE_SUPER_MAGIC || unix.Fstat(int(f.Fd()), &at) != nil {
		return false
	}
	return mountKind(at.Dev) == "fuse.sshfs"
}

// mountKind is the type of the file system with this device number, as mountinfo has it (proc(5)); "fuse" if that can't be
// told. No FUSE mount shares its number with another. The thread's own mounts are looked at, which are those its calls see:
// /proc/self would be those of the process's first thread.
func mountKind(dev uint64) string {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return "fuse"
	}
	defer f.Close()
	device := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, system, ok := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(mount); ok && len(fields) > 2 && fields[2] == device {
			kind, _, _ := strings.Cut(system, " ")
			return kind
		}
	}
	return "fuse"
}

// inMemory reports whether path lies in memory, where a package would leave none for anything else.
func inMemory(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return err == nil && (uint32(st.Type) == unix.TMPFS_MAGIC || uint32(st.Type) == unix.RAMFS_MAGIC)
}

// ours is an error if folder is there and somebody else could have put something into it.
func ours(folder string) error {
	var st unix.Stat_t
	switch err := unix.Lstat(folder, &st); {
	case err == unix.ENOENT:
		return nil
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0:
		return fmt.Errorf("not this user's own folder")
	}
	return nil
}

// isGone: the mount is there and what it was of is not.
func isGone(err error) bool {
	return slices.ContainsFunc([]error{
		unix.ENOTCONN, unix.ECONNABORTED, unix.ECONNRESET, unix.ESTALE, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH,
		unix.ETIMEDOUT, unix.ENODEV,
	}, func(gone error) bool { return errors.Is(err, gone) })
}

// forgetCached makes this machine forget what it has in memory of a file that was flushed, so that the next read asks the
// file system.
func forgetCached(f *os.File) { unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// syncArrived flushes the folders of a tree that was copied; its files were flushed one by one.
func (p *place) syncArrived() error {
	switch {
	case p.wholeSync:
		return p.syncAll()
	case p.sftp:
		return nil
	}
	for _, f := range p.folders {
		if err := p.syncPath(f.path); err != nil {
			return err
		}
	}
	return nil
}
