package manifest

import (
	"io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// permissions are the bits of an entry's mode that go into the manifest.
func permissions(mode fs.FileMode) fs.FileMode { return mode.Perm() }

// lookCloser notes what a regular file or a folder has that a package does not carry. full is its path for the system.
func (n *notes) lookCloser(path, full string, info fs.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 && info.Mode().IsRegular() {
		n.alias(path, fileID{uint64(st.Dev), st.Ino})
	}
	var buf [1024]byte
	size, err := unix.Llistxattr(full, buf[:])
	names := buf[:max(size, 0)]
	if err == unix.ERANGE {
		names = make([]byte, 64<<10) // the most there can be
		if size, err = unix.Llistxattr(full, names); err == nil {
			names = names[:size]
		}
	}
	if err != nil || size == 0 { // a file system without any, or nothing that this user may see
		return
	}
	var acl, other string
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		switch {
		case name == "security.capability":
			n.drop(TraitCapabilities, path, "")
		case name == "system.posix_acl_access", name == "system.posix_acl_default", name == "security.NTACL",
			name == "system.richacl", name == "system.ntfs_acl":
			acl = name
		case name == "security.selinux", name == "system.nfs4_acl", strings.HasPrefix(name, "trusted."):
			// Every file has the first, by rules that each machine has of its own, and on such mounts the second;
			// the last are notes of file systems.
		default:
			other = name
		}
	}
	if acl != "" {
		n.drop(TraitACL, path, acl)
	}
	if other != "" {
		n.drop(TraitXattrs, path, other)
	}
}

// mayRead says why a regular file can't be read, or nil; a file that is opened later may still say otherwise.
func mayRead(full string) error {
	if unix.Geteuid() == 0 {
		return nil // whatever the mode says
	}
	return unix.Faccessat(unix.AT_FDCWD, full, unix.R_OK, unix.AT_EACCESS)
}
