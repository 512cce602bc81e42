package store

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"handout/manifest"
)

// modeAtOnce: a file may get its mode as soon as it is written.
const modeAtOnce = true

// timeGrain is the finest difference between modification times.
const timeGrain = time.Nanosecond

func checkNames(*manifest.Manifest) error { return nil }

// makeSparse has nothing to do: a file's holes take no space here.
func makeSparse(*os.File, int64) {}

// isHole reports whether nothing was ever written to a part of a file; where the file system can't tell, it is not known.
func isHole(f *os.File, off, n int64) bool {
	data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	return err == unix.ENXIO || err == nil && data >= off+n
}

func sameMode(a, b fs.FileMode) bool { return a.Perm() == b.Perm() }

// modeless reports whether the file system under folder has no modes of its own: there chmod may fail, and what stat says
// of the mode was made up for the mount.
func modeless(folder *os.Root) bool {
	st, err := statfs(folder)
	return err == nil && slices.Contains([]int64{
		unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		0x5346544e, 0x7366746e, // the two drivers for NTFS
	}, int64(st.Type))
}

func statfs(folder *os.Root) (st unix.Statfs_t, err error) {
	f, err := folder.Open(".")
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, unix.Fstatfs(int(f.Fd()), &st)
}

// openAtOnce keeps an open from waiting for the other end of a pipe.
const openAtOnce = unix.O_NONBLOCK

// cloneFile lets an empty file share all blocks of another (FICLONE: Btrfs, XFS, ZFS, NFS 4.2).
func cloneFile(to, from *os.File) error { return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) }

// isOursAlone reports whether a file belongs to this user and has one name.
func isOursAlone(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1 && int(st.Uid) == os.Geteuid()
}

// hasGroupOf reports whether a file has the group that one made in the folder would get, where the folder gives its own.
func hasGroupOf(folder *os.Root, fi fs.FileInfo) bool {
	around, err := folder.Stat(".")
	if err != nil || around.Mode()&fs.ModeSetgid == 0 {
		return err == nil
	}
	a, ok1 := around.Sys().(*syscall.Stat_t)
	b, ok2 := fi.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && a.Gid == b.Gid
}

// setLinkTime sets the modification time of a symlink itself.
func setLinkTime(folder *os.Root, name string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(f.Fd()), name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

func symlinkTarget(target string) string { return target }

func explainSymlink(err error) error { return err }

// renameSpot renames by handles.
func renameSpot(_ *os.Root, from, to spot) error {
	a, err := from.folder.Open(from.sub)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := to.folder.Open(to.sub)
	if err != nil {
		return err
	}
	defer b.Close()
	return unix.Renameat(int(a.Fd()), from.name, int(b.Fd()), to.name)
}

func syncFolder(folder *os.Root) error {
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// freeSpace is what this user may still write to the file system folder lies on, in bytes; -1 if it does not say.
func freeSpace(folder *os.Root) int64 {
	st, err := statfs(folder)
	if err != nil || st.Blocks == 0 {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// freeNodes is how many files and folders can still be made on the file system folder lies on; -1 if it does not say.
func freeNodes(folder *os.Root) int64 {
	st, err := statfs(folder)
	if err != nil || st.Files == 0 {
		return -1
	}
	return int64(st.Ffree)
}

func isNotFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// diskSize is the size of the file system folder lies on, in bytes; -1 if it does not say.
func diskSize(folder *os.Root) int64 {
	st, err := statfs(folder)
	if err != nil || st.Blocks == 0 {
		return -1
	}
	return int64(st.Blocks) * int64(st.Bsize)
}

// allocated is what a file takes on the disk, in bytes.
func allocated(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return fi.Size()
}

func isNoSpace(err error) bool {
	return means(err, syscall.ENOSPC) || means(err, syscall.EDQUOT)
}

func isBusy(err error) bool { return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ETXTBSY) }

func isReadOnly(err error) bool { return means(err, syscall.EROFS) }

// isPassing: here a rename that failed will fail again.
func isPassing(error) bool { return false }

func inUse(_ string, err error) error { return err }

// setFileTime sets the modification time of an open file; os has that only by name.
func setFileTime(f *os.File, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	times := [2]unix.Timespec{ts, ts}
	if _, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, f.Fd(), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// syncFew is how many files are flushed one by one; beyond it one call for the whole file system costs less.
const syncFew = 16

// syncFiles flushes files of the tree and, if there are new ones among them, their names. It need not leave the rest of
// the file system alone.
func (p *place) syncFiles(files []int, names bool) error {
	if p.wholeSync && (names || len(files) > syncFew) {
		return p.syncAll()
	}
	if err := p.syncMany(files); err != nil {
		return err
	}
	if names {
		return p.syncNames(files)
	}
	return nil
}

// syncNames flushes the folders that files lie in, up to the tree's root.
func (p *place) syncNames(files []int) error {
	folders := map[string]bool{".": true}
	for _, file := range files {
		for folder := p.folders[p.home[file]].path; !folders[folder]; folder = path.Dir(folder) {
			folders[folder] = true
		}
	}
	return p.syncFolders(slices.Collect(maps.Keys(folders)))
}

// flushesAtOnce is how many flushes are on their way at a time where each file takes one: a file system that keeps a
// journal settles many with one write, and the way to it is not waited for each time.
const flushesAtOnce = 16

// syncMany flushes files one by one, several at a time.
func (p *place) syncMany(files []int) error {
	var work errgroup.Group
	work.SetLimit(flushesAtOnce)
	for _, file := range files {
		work.Go(func() error {
			if !p.wholeSync {
				p.flushed.add(file)
			}
			return p.syncFile(file)
		})
	}
	return work.Wait()
}

func (p *place) syncFolders(names []string) error {
	var work errgroup.Group
	work.SetLimit(flushesAtOnce)
	for _, name := range names {
		work.Go(func() error { return p.syncPath(name) })
	}
	return work.Wait()
}

func (p *place) syncPath(name string) error {
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncFile flushes one file. For that it need not be open for writing, and it may be read-only.
func (p *place) syncFile(file int) error {
	h, err := p.reader(file)
	if err != nil {
		return err
	}
	defer p.files.release(h)
	return h.v.Sync()
}

// syncAll flushes the whole tree with all names and times.
func (p *place) syncAll() error {
	if !p.wholeSync {
		return p.syncEach()
	}
	f, err := p.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// add is called before a file is flushed: a change meanwhile then takes it out again.
func (f *flushed) add(file int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files == nil {
		f.files = map[int]struct{}{}
	}
	f.files[file] = struct{}{}
}

func (f *flushed) has(file int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.files[file]
	return ok
}

// syncEach is syncAll where one call does nothing. What was flushed with its pieces and is as it was then is left out.
func (p *place) syncEach() error {
	var files []int
	for _, i := range p.members {
		if p.m.Files[i].Target == "" && !p.flushed.has(i) {
			files = append(files, i)
		}
	}
	if err := p.syncMany(files); err != nil {
		return err
	}
	folders := make([]string, len(p.folders))
	for i, f := range p.folders {
		folders[i] = f.path
	}
	return p.syncFolders(folders)
}

// canSyncWhole reports whether syncfs(2) does anything for the file system under folder. Of one that a program serves by
// FUSE the kernel says that all went well, and tells the program nothing.
func canSyncWhole(folder *os.Root) bool {
	st, err := statfs(folder)
	return err == nil && st.Type != unix.FUSE_SUPER_MAGIC
}
