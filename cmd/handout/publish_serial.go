package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"handout/agent/atomicfile"
	"handout/manifest"
)

// nextSerial is the serial of a publication. It is greater than that of the same package in the file that is about to be
// replaced and, unless one is given, than the last that was published with the same key: machines take a smaller one for an
// old version, and two in one second, or a clock that went back, must not make one.
func nextSerial(given, now uint64, name, output, key string) (serial uint64, last uint64) {
	serial = given
	if given == 0 {
		if serial = now; key != "" {
			serial = max(serial, lastSerial(key)+1)
		}
	}
	if raw, err := os.ReadFile(output); err == nil {
		if m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true}); err == nil && m.Name == name {
			last = m.Serial
		}
	}
	return max(serial, last+1), last
}

// serialFile is where the last serial that was published with a key stands, beside it.
func serialFile(key string) string { return strings.TrimSuffix(key, ".key") + ".serial" }

// lastSerial is the last serial that was published with key; 0: none is known.
func lastSerial(key string) uint64 {
	text, err := os.ReadFile(serialFile(key))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 62)
	if err != nil {
		return 0
	}
	return n
}

// noteSerial keeps a serial for the next publication with key. Where the key's folder can't be written to, two publications
// in one second must go to one file to be told apart.
func noteSerial(key string, serial uint64) {
	if serial > lastSerial(key) {
		atomicfile.Write(serialFile(key), []byte(strconv.FormatUint(serial, 10)+"\n"), 0o644)
	}
}

// publicKeyFor is key as machines may be told it: the file beside its private half, or the key's own line.
func publicKeyFor(privateFile string, key manifest.PublicKey) string {
	public := strings.TrimSuffix(privateFile, ".key") + ".pub"
	if text, err := os.ReadFile(public); err == nil {
		if k, err := manifest.ParsePublicKey(string(text)); err == nil && k.Equal(key) {
			return public
		}
	}
	return key.String()
}

// escapeName is a file's name as it stands in a URL.
func escapeName(name string) string { return url.PathEscape(name) }

// sameFile reports whether two paths name the same place.
func sameFile(a, b string) bool {
	x, err1 := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	if err1 != nil || err2 != nil {
		return false
	}
	dir1, err1 := filepath.EvalSymlinks(filepath.Dir(x))
	dir2, err2 := filepath.EvalSymlinks(filepath.Dir(y))
	return err1 == nil && err2 == nil && dir1 == dir2 && filepath.Base(x) == filepath.Base(y)
}
