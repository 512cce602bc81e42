//go:build unix

package httporigin

import (
	"bufio"
	"bytes"
	"os/exec"
	"regexp"
	"testing"
)

// startPython serves dir by python3 -m http.server, which knows no ranges, for the length of a test.
func startPython(t *testing.T, dir string) (url string) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: make deps")
	}
	cmd := exec.Command(program, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port := regexp.MustCompile(`port (\d+)`).FindStringSubmatch(line)
	if port == nil {
		t.Fatalf("python3 says %q, %v", line, err)
	}
	return "http://127.0.0.1:" + port[1]
}

// Every character that a file's name can have arrives at a server that is not Go's.
func TestNamesAtPython(t *testing.T) {
	files := map[string][]byte{}
	for i := 1; i < 128; i++ { // beyond them a manifest has UTF-8 only
		if c := byte(i); c != '/' {
			name := "x" + string([]byte{c}) + "y"
			files[name] = []byte("file " + name)
		}
	}
	for _, name := range []string{"caf\u00e9", "cafe\u0301", "a%2Fb", "%2B", "+", ";p=1", "a b", "~", "[x]", "日本/語+"} {
		files[name] = []byte("file " + name)
	}
	h := mustOpen(t, startPython(t, writeTree(t, files)), Options{})
	for name, want := range files {
		p := make([]byte, len(want))
		if err := h.ReadRange(t.Context(), name, 0, p); err != nil || !bytes.Equal(p, want) {
			t.Errorf("%q: %q, %v", name, p, err)
		}
	}
}
