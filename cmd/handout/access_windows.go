package main

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/windows"

	"handout/agent/atomicfile"
)

// Access lists (MS-DTYP 2.5.1) that take nothing from the folders above; %s is the service. System and administrators may do all.
const (
	// configAccess: the service reads. The config may hold passwords, so nobody else does.
	configAccess = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FRFX;;;%s)"
	// privateAccess: the service changes what is its own (0x1301bf: modify).
	privateAccess = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;%s)"
	// cacheAccess: users read the packages.
	cacheAccess = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;%s)(A;OICI;FRFX;;;BU)"
)

// serviceSID is the SID of a service, from its name: the service need not exist yet, as LookupAccountName wants it.
// It is the SHA-1 of the name in upper case, as sc showsid prints it.
func serviceSID(name string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(strings.ToUpper(name))) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	sum := sha1.Sum(b)
	sid := "S-1-5-80"
	for i := 0; i < len(sum); i += 4 {
		sid += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(sum[i:]))
	}
	return sid
}

// setAccess sets who may open a file or folder, and all that is in it.
func setAccess(path, access string) error {
	sd, err := windows.SecurityDescriptorFromString(fmt.Sprintf(access, serviceSID(serviceName)))
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	if err != nil {
		return fmt.Errorf("set who may open %s: %w", path, err)
	}
	return nil
}

// makeConfigDir makes the folder of the config, for the service to read. One that is not ours by default is left as it is.
func makeConfigDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if dir != filepath.Dir(defaultConfigFile()) {
		return nil
	}
	return setAccess(dir, configAccess)
}

// writeGuarded writes a file that only the service and admins may read.
func (in *installation) writeGuarded(path string, content []byte) error {
	if err := atomicfile.Write(path, content, 0o644); err != nil {
		return err
	}
	return setAccess(path, strings.ReplaceAll(configAccess, "OICI", ""))
}
