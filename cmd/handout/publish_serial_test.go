package main

import (
	"os"
	"path/filepath"
	"testing"

	"handout/manifest"
)

// TestNextSerial: whatever the clock says, a later publication has a greater serial.
func TestNextSerial(t *testing.T) {
	dir := t.TempDir()
	tree, key, out := filepath.Join(dir, "tree"), filepath.Join(dir, "lab.key"), filepath.Join(dir, "tree.torrent")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	publish := func(output string, serial uint64) {
		t.Helper()
		raw, err := manifest.Build(t.Context(), tree, manifest.BuildOptions{Serial: serial})
		if err == nil {
			err = os.WriteFile(output, raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what       string
		given, now uint64
		name       string
		output     string
		want       uint64
	}{
		{"the first", 0, 1000, "tree", out, 1000},
		{"in the same second", 0, 1000, "tree", out, 1001},
		{"to another file", 0, 1000, "tree", out + "2", 1002},
		{"of another package to the same file", 0, 1000, "other", out, 1003},
		{"a clock that went back a year", 0, 5, "tree", out, 1004},
		{"a smaller one is given", 7, 1000, "tree", out, 1005},
		{"a greater one is given", 5000, 1000, "tree", out, 5000},
		{"after one that was given", 0, 1000, "tree", out, 5001},
		{"one is given for a new file", 7, 1000, "tree", out + "3", 7},
	} {
		got, _ := nextSerial(c.given, c.now, c.name, c.output, key)
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
		if c.given == 0 {
			noteSerial(key, got)
		}
		if c.name == "tree" {
			publish(c.output, got)
		}
	}
	for _, torn := range []string{"", "x", "-1", "99999999999999999999999"} {
		if err := os.WriteFile(serialFile(key), []byte(torn), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _ := nextSerial(0, 1000, "tree", filepath.Join(dir, "new"), key); got != 1000 {
			t.Errorf("%q beside the key: %d", torn, got)
		}
	}
}

// TestBesides: the manifest is to lie beside the package and not in it.
func TestBesides(t *testing.T) {
	for where, want := range map[string]string{
		"http://h/a/tree": "http://h/a/p+1.torrent", "http://h/tree/": "http://h/p+1.torrent", "http://h": "", "https://h/": "",
		"smb://u@h/share/a/tree": "smb://u@h/share/a/p+1.torrent", "smb://h/share/tree": "smb://h/share/p+1.torrent", "smb://h/share": "", "smb://h/share/": "",
		`\\h\share\tree`: `\\h\share\p+1.torrent`, `\\h\share`: "", `D:\a\tree`: `D:\a\p+1.torrent`, "/srv/tree": "/srv/p+1.torrent", "/": "",
		"file:///srv/tree": "file:///srv/p+1.torrent",
	} {
		if len(want) > 4 && (want[:4] == "http" || want[:4] == "file") {
			want = want[:len(want)-len("p+1.torrent")] + "p%2B1.torrent"
		}
		if got := besides(where, "p+1.torrent"); got != want {
			t.Errorf("%s: %s, want %s", where, got, want)
		}
	}
}
