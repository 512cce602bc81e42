package store

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// isVolume reports whether the folder base is the root of a file system, or of a part of one that is mounted there: nothing
// can be renamed into it from the folder around it, nor itself.
func isVolume(around *os.Root, _, base string) bool {
	f, err := around.Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	var out, in unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &out) != nil ||
		unix.Statx(int(f.Fd()), base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &in) != nil {
		return false
	}
	return in.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || in.Dev_major != out.Dev_major || in.Dev_minor != out.Dev_minor
}

// isMountedFolder: here a mount point is a folder like any other.
func isMountedFolder(string, fs.FileInfo) bool { return false }

// isJunction: there are only symlinks here.
func isJunction(string, fs.FileInfo) bool { return false }

// mayWrite reports whether this user may make and remove entries of a folder.
func mayWrite(folder *os.Root) bool {
	f, err := folder.Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Faccessat(int(f.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

// mountsIn are the mount points beneath a folder, of which the file systems would be emptied with it.
func mountsIn(abs string) (all []string) {
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil
	}
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescapeMount(fields[4])
		if strings.HasPrefix(point, real+"/") {
			all = append(all, point)
		}
	}
	return all
}

// unescapeMount reads a path as mountinfo writes it: blanks and the like as three octal digits (proc(5)).
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// workingFolders are the working directories of this process and of those that called it: a shell among them is to find
// itself in a folder that is still there.
func workingFolders() (all []string) {
	const deepest = 32
	pid := os.Getpid()
	for range deepest {
		proc := filepath.Join("/proc", strconv.Itoa(pid))
		if dir, err := os.Readlink(filepath.Join(proc, "cwd")); err == nil {
			all = append(all, dir)
		}
		stat, err := os.ReadFile(filepath.Join(proc, "stat"))
		if err != nil {
			break
		}
		// The command's name, in brackets, may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 {
			break
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil || pid <= 0 {
			break
		}
	}
	return all
}

// isImmovable reports whether a rename failed because what was to be renamed can't be, while what is in it can: a folder of
// an overlay's lower layer (EXDEV without redirect_dir), a mount point, a folder of somebody else's in a sticky one.
func isImmovable(err error) bool {
	return isCrossDevice(err) || isBusy(err) || errors.Is(err, fs.ErrPermission)
}

func isCrossDevice(err error) bool { return errors.Is(err, syscall.EXDEV) }
