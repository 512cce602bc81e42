package manifest

import (
	"io/fs"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// permissions are the bits of an entry's mode that go into the manifest. Go makes them up of the read-only attribute, for
// everybody alike; on Linux that would let everybody write.
func permissions(mode fs.FileMode) fs.FileMode { return mode.Perm() &^ 0o022 }

var (
	kernel32         = windows.NewLazySystemDLL("kernel32.dll")
	findFirstStreamW = kernel32.NewProc("FindFirstStreamW")
	findNextStreamW  = kernel32.NewProc("FindNextStreamW")
)

// streamData is WIN32_FIND_STREAM_DATA.
type streamData struct {
	size int64
	name [windows.MAX_PATH + 36]uint16
}

// lookCloser notes what a regular file or a folder has that a package does not carry. full is its path for the system.
func (n *notes) lookCloser(path, full string, info fs.FileInfo) {
	if d, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		const rare = windows.FILE_ATTRIBUTE_HIDDEN | windows.FILE_ATTRIBUTE_SYSTEM | windows.FILE_ATTRIBUTE_COMPRESSED | windows.FILE_ATTRIBUTE_ENCRYPTED
		if d.FileAttributes&rare != 0 {
			n.drop(TraitAttributes, path, "")
		}
	}
	if stream := firstStream(full); stream != "" {
		n.drop(TraitStreams, path, stream)
	}
	if hasOwnACL(full) {
		n.drop(TraitACL, path, "")
	}
	if info.Mode().IsRegular() {
		if id, several := sharedFile(full); several {
			n.alias(path, id)
		}
	}
}

// sharedFile tells which file has the path, and whether it has other paths, too.
func sharedFile(full string) (id fileID, several bool) {
	wide, err := windows.UTF16PtrFromString(full)
	if err != nil {
		return id, false
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(wide, 0, share, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return id, false
	}
	defer windows.CloseHandle(h)
	var f windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &f); err != nil {
		return id, false
	}
	id = fileID{uint64(f.VolumeSerialNumber), uint64(f.FileIndexHigh)<<32 | uint64(f.FileIndexLow)}
	return id, f.NumberOfLinks > 1
}

// firstStream is the name of a stream of a file besides its content, or of a folder; empty: there is none.
func firstStream(full string) string {
	wide, err := windows.UTF16PtrFromString(full)
	if err != nil || findFirstStreamW.Find() != nil {
		return ""
	}
	var data streamData
	h, _, _ := findFirstStreamW.Call(uintptr(unsafe.Pointer(wide)), 0, uintptr(unsafe.Pointer(&data)), 0)
	if windows.Handle(h) == windows.InvalidHandle {
		return ""
	}
	defer windows.FindClose(windows.Handle(h))
	for {
		if name := windows.UTF16ToString(data.name[:]); name != "::$DATA" {
			name, _, _ = strings.Cut(strings.TrimPrefix(name, ":"), ":")
			return name
		}
		if more, _, _ := findNextStreamW.Call(h, uintptr(unsafe.Pointer(&data))); more == 0 {
			return ""
		}
	}
}

// hasOwnACL reports whether somebody gave rights to just this entry: what it has by inheritance, any folder gives.
func hasOwnACL(full string) bool {
	sd, err := windows.GetNamedSecurityInfo(full, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false
	}
	acl, _, err := sd.DACL()
	if err != nil || acl == nil {
		return false
	}
	for i := range uint32(acl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if windows.GetAce(acl, i, &ace) == nil && ace.Header.AceFlags&windows.INHERITED_ACE == 0 {
			return true
		}
	}
	return false
}

// mayRead knows nothing before a file is opened.
func mayRead(string) error { return nil }
