package smborigin

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A file's name goes over the wire as Windows would have it; catia turns that back into what Linux has.
const allNames = `vfs objects = catia
catia:mappings = 0x22:0xf020,0x2a:0xf021,0x3a:0xf022,0x3c:0xf023,0x3e:0xf024,0x3f:0xf025,0x5c:0xf026,0x7c:0xf027,0x0a:0xf00a,0x09:0xf009
mangled names = no
`

// user is one that every Debian has.
const user, password = "games", "pass=word; with blanks "

// serve starts a Samba that has files on its share pkg. change may set what else it should be.
func serve(t *testing.T, files map[string][]byte, change func(*sourcetest.Samba)) (s *sourcetest.Samba, root string) {
	t.Helper()
	dir := scratch(t)
	root = filepath.Join(dir, "pkg")
	write(t, root, files)
	s = &sourcetest.Samba{Shares: map[string]string{"pkg": root}, Dir: filepath.Join(dir, "samba"), User: user, Password: password, Share: allNames}
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	if err := s.Start(); errors.Is(err, sourcetest.ErrNoSamba) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	// It accepts connections before it can let anybody in.
	if err := patient(open(t, s, Options{})).ReadRange(t.Context(), "", 0, nil); err != nil {
		if _, notYet := sources.Retryable(err); notYet {
			t.Fatal(err)
		}
	}
	return s, root
}

// scratch is a folder in memory where there is one for that, which others than its owner can read.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "handout-smb-")
	if err != nil {
		if dir, err = os.MkdirTemp("", "handout-smb-"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, root string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, data := range files {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// open is the origin of the share pkg of s.
func open(t *testing.T, s *sourcetest.Samba, o Options) *Origin {
	t.Helper()
	origin, err := Open(s.URL("pkg"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { origin.Close() })
	return origin
}

var known = Options{Credentials: Credentials{User: user, Password: password}}

func TestExam(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		global  string
	}{
		{"guest", Options{}, ""},
		{"user", known, ""},
		{"2.0.2", known, "server max protocol = SMB2_02"},
		{"2.1", known, "server max protocol = SMB2_10"},
		{"3.0", known, "server max protocol = SMB3_00"},
		{"3.0.2", known, "server max protocol = SMB3_02"},
		{"3.1.1 signed", known, "server signing = mandatory"},
		{"3.1.1 encrypted", known, "server smb encrypt = required"},
		{"2.1 signed", known, "server max protocol = SMB2_10\nserver signing = mandatory"},
		{"3.0 encrypted", known, "server max protocol = SMB3_00\nserver smb encrypt = required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
				s, _ := serve(t, files, func(s *sourcetest.Samba) { s.Global = c.global })
				return open(t, s, c.options)
			})
		})
	}
}
