package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/windows"
)

// foreignVolume reports whether path lies on a network drive or is a UNC path, and which.
func foreignVolume(path string) (kind string, foreign bool) {
	volume := filepath.VolumeName(path)
	// \\?\C: and \\.\C: are this machine's own, \\?\UNC\server\share is not.
	device := strings.HasPrefix(volume, `\\?\`) || strings.HasPrefix(volume, `\\.\`)
	if strings.HasPrefix(volume, `\\`) && (!device || strings.HasPrefix(strings.ToUpper(volume[4:]), `UNC\`)) {
		return "network share", true
	}
	return "network drive", driveType(volume) == windows.DRIVE_REMOTE
}

// inMemory reports whether path lies on a RAM disk that says so, where a package would leave no memory for anything else.
func inMemory(path string) bool { return driveType(filepath.VolumeName(path)) == windows.DRIVE_RAMDISK }

func driveType(volume string) uint32 {
	root, err := windows.UTF16PtrFromString(volume + `\`)
	if err != nil {
		return windows.DRIVE_UNKNOWN
	}
	return windows.GetDriveType(root)
}

// ours has nothing to say: the folders that programs use here belong to one user each.
func ours(string) error { return nil }

// isGone: the drive is there and the share is not.
func isGone(err error) bool {
	return slices.ContainsFunc([]error{
		windows.ERROR_BAD_NETPATH, windows.ERROR_BAD_NET_NAME, windows.ERROR_NETNAME_DELETED, windows.ERROR_UNEXP_NET_ERR,
		windows.ERROR_NETWORK_UNREACHABLE, windows.ERROR_HOST_UNREACHABLE, windows.ERROR_SEM_TIMEOUT, windows.ERROR_NOT_READY,
	}, func(gone error) bool { return errors.Is(err, gone) })
}

// forgetCached can do nothing: what the redirector has cached of a file that was closed is its own affair, so that here
// reading back may prove no more than that the bytes reached it.
func forgetCached(*os.File) {}

func isSSHFS(*os.Root) bool { return false }

// syncArrived has nothing to do: NTFS keeps its names in order by its own journal, and a server does as it likes.
func (p *place) syncArrived() error { return nil }
