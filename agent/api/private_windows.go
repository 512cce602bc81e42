package api

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

const defaultAddress = "127.0.0.1:0" // sockets with names are not everywhere

// private lets in the system, the administrators and the folder's owner, by an access list that takes nothing from
// the folders above and goes on to the files within (MS-DTYP 2.5.1).
const private = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)"

// makePrivate makes the folder if need be, and lets nobody in but its owner and the administrators.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(private)
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	err = windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	if err != nil {
		return fmt.Errorf("set who may open %s: %w", dir, err)
	}
	return nil
}
