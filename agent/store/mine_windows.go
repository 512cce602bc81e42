package store

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// writes are the rights by which a file, or what is in a folder, can be changed, or be made changeable (MS-DTYP 2.4.3).
const writes = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.FILE_WRITE_EA | windows.FILE_WRITE_ATTRIBUTES | fileDeleteChild |
	windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER | windows.GENERIC_WRITE | windows.GENERIC_ALL

const fileDeleteChild = 0x40

// mine is an error if a file or folder belongs to another account, if others than the system and the administrators may
// write to it, or if a file has a second name.
func mine(path string, fi fs.FileInfo, _ fs.FileMode) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	own, err := ownSIDs()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, owner.Equals) {
		return errors.New("belongs to another user")
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil {
		return errors.New("can be written by everybody")
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return err
		}
		if ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 || ace.Header.AceType == windows.ACCESS_DENIED_ACE_TYPE || ace.Mask&writes == 0 {
			continue
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE {
			return errors.New("has an access list that can't be judged")
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if !slices.ContainsFunc(own, sid.Equals) && !isGuardian(sid) {
			return errors.New("can be written by other users")
		}
	}
	if fi.Mode().IsRegular() {
		return onlyName(path)
	}
	return nil
}

// owner is an error if a file or folder belongs to another account.
func owner(path string, _ fs.FileInfo) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	its, _, err := sd.Owner()
	if err != nil {
		return err
	}
	own, err := ownSIDs()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, its.Equals) && !isGuardian(its) {
		return errors.New("belongs to another user")
	}
	return nil
}

// isGuardian reports whether an account can do everything here in any case, or means the owner.
func isGuardian(sid *windows.SID) bool {
	return sid.IsWellKnown(windows.WinLocalSystemSid) || sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) ||
		sid.IsWellKnown(windows.WinCreatorOwnerSid) || sid.String() == ownerRights || sid.String() == trustedInstaller
}

const (
	ownerRights      = "S-1-3-4"
	trustedInstaller = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
)

// ownSIDs are whom files belong to that this process makes: its user, or what its token names as the owner.
func ownSIDs() ([]*windows.SID, error) {
	token := windows.GetCurrentProcessToken()
	user, err := token.GetTokenUser()
	if err != nil {
		return nil, err
	}
	own := []*windows.SID{user.User.Sid}
	buffer := make([]byte, 256) // a TOKEN_OWNER and its SID, which has 68 bytes at most
	var n uint32
	if err := windows.GetTokenInformation(token, windows.TokenOwner, &buffer[0], uint32(len(buffer)), &n); err != nil {
		return nil, err
	}
	owner, err := (*(**windows.SID)(unsafe.Pointer(&buffer[0]))).Copy()
	if err != nil {
		return nil, err
	}
	return append(own, owner), nil
}

// onlyName is an error if a file has several names.
func onlyName(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return err
	}
	if info.NumberOfLinks != 1 {
		return errors.New("has a second name (a hard link)")
	}
	return nil
}
