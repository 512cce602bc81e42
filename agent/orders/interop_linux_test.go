package orders

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What we sign the minisign program verifies, and what it signs we take.
func TestMinisignProgram(t *testing.T) {
	minisign, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("needs minisign: make deps")
	}
	run := func(args ...string) error {
		cmd := exec.Command(minisign, args...)
		cmd.Dir = t.TempDir()
		return cmd.Run()
	}
	write := func(name string, b []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key, root := newKey(t), newKey(t)
	for what, c := range map[string]struct {
		text []byte
		pub  string
		tag  string
	}{
		"order": {text(t, push("apps", 1), key), key.Public().String(), orderTag},
		"list":  {list(t, root, 1, ListedKey{PushRole, key.Public(), ""}), root.Public().String(), keysTag},
	} {
		s, err := split(c.text, c.tag, MaxKeysSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := run("-V", "-m", write("message", s.message), "-x", write("sig", s.minisig), "-P", c.pub); err != nil {
			t.Errorf("%s: minisign refuses our signature: %v", what, err)
		}
		if err := run("-V", "-m", write("message", append(bytes.Clone(s.message), ' ')), "-x", write("sig", s.minisig), "-P", c.pub); err == nil {
			t.Errorf("%s: minisign takes our signature for any message: the test proves nothing", what)
		}
	}

	secret, err := key.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	s, err := split(text(t, push("apps", 1), newKey(t)), orderTag, MaxOrderSize)
	if err != nil {
		t.Fatal(err)
	}
	sig := filepath.Join(t.TempDir(), "sig")
	if err := run("-S", "-s", write("key", secret), "-m", write("message", s.message), "-x", sig, "-t", "an order"); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(sig)
	if err != nil {
		t.Fatal(err)
	}
	take(t, newBook(t, "", Rules{Push: public(key)}), append(bytes.Clone(s.message), made...))
}
