package site

import (
	"bufio"
	"strings"
	"testing"
)

// TestWhatIsPackedIsRefused: a stranger's few bytes that become many.
func TestWhatIsPackedIsRefused(t *testing.T) {
	for said, want := range map[string]bool{
		"\x09rest":                        true,
		"\xf4\x0fhandout:default\x09rest": true,
		"\xf4\x0fhandout:default\x06rest": false,
		"\xf4\x0fhandout:default\x0arest": false, // encrypted
		"\x06rest":                        false,
		"\xf4\xffshort":                   false,
		"":                                false,
	} {
		if got := isPacked(bufio.NewReaderSize(strings.NewReader(said), maxLine)); got != want {
			t.Errorf("%q: %v", said, got)
		}
	}
}
