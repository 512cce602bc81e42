package manifest

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrWindowsName is in the chain of an error that says a name, two names together or a symlink's target cannot exist
// on Windows or would mean something else there. BuildOptions.AllowNonWindowsNames waives these rules.
var ErrWindowsName = errors.New("not possible on Windows")

// CheckPath says why path may not be in a package anywhere, or nil: it must be relative, clean and slash-separated,
// valid UTF-8 without control characters, and within MaxPath and MaxElement. The error names the path.
//
// Names are kept as they are: an NFC and an NFD spelling of the same word are two names, as they are on ext4 and NTFS.
func CheckPath(path string) error {
	if reason := badPath(path); reason != "" {
		return fmt.Errorf("path %s: %s", quote(path), reason)
	}
	return nil
}

func badPath(path string) string {
	switch {
	case path == "":
		return "it is empty"
	case len(path) > MaxPath:
		return fmt.Sprintf("it has %d bytes, over the limit of %d", len(path), MaxPath)
	case path[0] == '/':
		return "it is absolute"
	}
	if reason := badText(path); reason != "" {
		return reason
	}
	for element := range strings.SplitSeq(path, "/") {
		switch {
		case element == "":
			return "it has an empty element"
		case element == "." || element == "..":
			return fmt.Sprintf("it has the element %q", element)
		case len(element) > MaxElement:
			return fmt.Sprintf("an element has %d bytes, over the limit of %d", len(element), MaxElement)
		}
	}
	return ""
}

// badText says why s may not be shown to people or given to a file system.
func badText(s string) string {
	if !utf8.ValidString(s) {
		return "it is not valid UTF-8"
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Sprintf("it has the control character %U", r)
		}
	}
	return ""
}

// CheckWindows says why path, which CheckPath passed, cannot exist on Windows or would mean something else there, or
// nil. The error wraps ErrWindowsName and names the path.
func CheckWindows(path string) error {
	for element := range strings.SplitSeq(path, "/") {
		if reason := badOnWindows(element); reason != "" {
			return fmt.Errorf("path %s: %w: %s", quote(path), ErrWindowsName, reason)
		}
	}
	return nil
}

// badOnWindows knows what Win32 does to a name: "a:b" is an alternate data stream or a drive, a backslash is a
// separator, dots and spaces at the end are dropped, and NUL.txt is the null device.
func badOnWindows(element string) string {
	if i := strings.IndexAny(element, `<>:"\|?*`); i >= 0 {
		return fmt.Sprintf("it has the character %q", element[i])
	}
	if strings.HasSuffix(element, ".") || strings.HasSuffix(element, " ") {
		return "an element ends in a dot or a space"
	}
	base, _, _ := strings.Cut(element, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return fmt.Sprintf("%s is the name of a device", base)
	}
	if digit, ok := strings.CutPrefix(base, "COM"); ok && isDeviceDigit(digit) {
		return fmt.Sprintf("%s is the name of a device", base)
	}
	if digit, ok := strings.CutPrefix(base, "LPT"); ok && isDeviceDigit(digit) {
		return fmt.Sprintf("%s is the name of a device", base)
	}
	return ""
}

// isDeviceDigit counts the superscripts in: Windows takes COM¹ for COM1.
func isDeviceDigit(s string) bool {
	switch s {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}

// fold maps names that differ only in case to one (Unicode simple folding).
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
			return r
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// parent is the folder path lies in; empty for the tree's root.
func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)]
}

// quote makes s fit for a terminal or a log, whoever wrote it, and keeps it short.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
