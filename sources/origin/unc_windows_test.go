package origin

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"handout/sources/fileorigin"
	"handout/sources/smborigin"
)

// A share is read by the system's own client, whichever way it is written, unless there is an account for it.
func TestShareIsReadByTheSystem(t *testing.T) {
	share := os.Getenv("HANDOUT_UNC")
	if share == "" {
		t.Skip(`needs HANDOUT_UNC=\\server\share, which may be written to: make test-windows`)
	}
	dir, err := os.MkdirTemp(share, "unc ")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	at, err := smborigin.Parse(dir)
	if err != nil {
		t.Fatal(err)
	}
	for location, separator := range map[string]string{dir: `\`, at.String(): "/"} {
		o, err := Open(location, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		p := make([]byte, 3)
		if _, ok := o.(*fileorigin.Origin); !ok || o.ReadRange(t.Context(), "f", 4, p) != nil || string(p) != "456" {
			t.Errorf("%s: %T read %q", location, o, p)
		}
		raw, err := ReadFile(t.Context(), location+separator+"f", 4, 2, func([]byte) error { return nil }, Options{})
		if err != nil || !bytes.Equal(raw, []byte("01234")) {
			t.Errorf("%s: %q, %v", location, raw, err)
		}
	}
	o, err := Open(at.String(), Options{Accounts: smborigin.Accounts{{Credentials: smborigin.Credentials{User: "u"}}}})
	if _, ok := o.(*smborigin.Origin); !ok || err != nil {
		t.Errorf("with an account: %T, %v", o, err)
	}
}
