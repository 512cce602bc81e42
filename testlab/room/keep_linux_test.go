package room

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

func TestKeptLinesBearTheirTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	k := &timed{to: f, since: time.Now().Add(-time.Minute)}
	for _, p := range []string{"{\"a\":", "1}\n{", "}\n"} {
		if n, err := k.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	k.Close()
	got, err := os.ReadFile(path)
	if want := regexp.MustCompile(`^6\d\.\d\d {"a":1}\n6\d\.\d\d {}\n$`); err != nil || !want.Match(got) {
		t.Errorf("%q, %v", got, err)
	}
}
