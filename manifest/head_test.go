package manifest

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// What is given in a manifest's place is named as what it is.
func TestHeadsOfOtherFiles(t *testing.T) {
	at := func(offset int, magic string) string {
		return strings.Repeat("\x00", offset) + magic + strings.Repeat("\x01", 100)
	}
	for head, want := range map[string]string{
		"":                              "empty",
		"<!DOCTYPE html>\n<html>":       "HTML page",
		"\xef\xbb\xbf\r\n <HTML><head>": "HTML page",
		"<script>location='/login'":     "HTML page",
		"<!-- portal --><html>":         "HTML page",
		"<?xml version=\"1.0\"?>\n<!DOCTYPE html><html xmlns=\"\">": "HTML page",
		"<?xml version=\"1.0\"?>\n<metalink xmlns=\"urn\">":         "Metalink",
		"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>":   "XML",
		"magnet:?xt=urn:btih:00":                                    "magnet",
		"{\"error\": \"no\"}":                                       "JSON",
		"\x1f\x8b\x08\x00":                                          "gzip",
		"PK\x03\x04\x14":                                            "zip",
		"\xfd7zXZ\x00\x00":                                          "xz",
		"7z\xbc\xaf\x27\x1c\x00":                                    "7z",
		"\x28\xb5\x2f\xfd\x04":                                      "zstd",
		"BZh91AY":                                                   "bzip2",
		at(257, "ustar\x0000"):                                      "tar",
		"MSWIM\x00\x00\x00\xd0":                                     "WIM",
		at(32769, "CD001\x01"):                                      "ISO",
		"\xeb\x63" + at(508, "\x55\xaa"):                            "boot sector",
		at(512, "EFI PART"):                                         "GUID",
		"QFI\xfb\x00":                                               "qcow2",
		"vhdxfile\x00":                                              "VHDX",
		"hsqs\x00":                                                  "squashfs",
		"MZ\x90\x00":                                                "program",
		"\x7fELF\x02":                                               "program",
		"untrusted comment: minisign public key 1\nRWQ":             "--trust",
		"#!/bin/sh\n":                                               "script",
		"version https://git-lfs.github.com/spec/v1\n":              "Git LFS",
		strings.Repeat("\x00", HeadSize):                            "zeros",
		"deb http://deb.debian.org/debian":                          "a text",
		"d2d":                                                       "a text",
		"\x8f\x01\x02\x03":                                          "8f 01 02 03",
		"\xff\xfe<\x00h\x00":                                        "UTF-16",
		strings.Repeat("ä", 400):                                    "a text",
	} {
		err := CheckHead([]byte(head))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", head, err, want)
		}
		if _, err := Open([]byte(head), Trust{AllowUnsigned: true}); err == nil {
			t.Errorf("%.40q opens", head)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("<?xml"))
	f.Fuzz(func(t *testing.T, head []byte) {
		err := CheckHead(head)
		if _, open := Open(head, Trust{AllowUnsigned: true}); open == nil && err != nil {
			t.Errorf("a manifest that opens is refused: %v", err)
		}
		if err != nil && (len(err.Error()) > 300 || bytes.ContainsAny([]byte(err.Error()), "\n\x1b")) {
			t.Errorf("error %q", err)
		}
	})
}
