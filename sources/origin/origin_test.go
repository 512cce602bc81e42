package origin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	share, fileURL := "*smborigin.Origin", "file:///srv/pkg"
	if runtime.GOOS == "windows" {
		share, fileURL = "*fileorigin.Origin", "file:///C:/srv/pkg"
	}
	for _, c := range []struct{ location, kind, refused string }{
		{"http://h/p", "*httporigin.Origin", ""},
		{"HTTPS://h/p", "*httporigin.Origin", ""},
		{"/srv/pkg", "*fileorigin.Origin", ""},
		{"pkg", "*fileorigin.Origin", ""},
		{`C:\pkg`, "*fileorigin.Origin", ""},
		{"odd:name", "*fileorigin.Origin", ""},
		{fileURL, "*fileorigin.Origin", ""},
		{"ftp://u:hunter2@h/p?hunter2", "", "ftp is not among"},
		{"smb://h/share", share, ""},
		{"SMB://lab;u@h:4455/share/a%20b", "*smborigin.Origin", ""},
		{`\\h\share\pkg`, share, ""},
		{"smb://u:hunter2@h/share", "", "password"},
		{"smb://h", "", "no share"},
		{"http://u:hunter2@h/p", "*httporigin.Origin", ""},
		{"", "", "no path"},
	} {
		o, err := Open(c.location, Options{})
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v, want %q", c.location, err, c.refused)
			}
			continue
		}
		if kind := fmt.Sprintf("%T", o); err != nil || kind != c.kind {
			t.Errorf("%q: %s, %v, want %s", c.location, kind, err, c.kind)
		}
	}
}
