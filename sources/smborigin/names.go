package smborigin

import (
	"fmt"
	"io/fs"
	"strings"
)

// names are what the file at path may be called on the server, the likeliest first, backslash-separated. What Windows
// does not let into a name is written with characters of Unicode's private area, as macOS does and the Linux kernel's
// client by default (mapposix), and as Samba's modules catia and fruit together understand it. Last comes the way of Services
// for Unix, which some shares have from the kernel's other mapping (mapchars).
func (l Location) names(path string) ([]string, error) {
	if path != "" && (!fs.ValidPath(path) || path == ".") {
		return nil, fmt.Errorf("%q is not a path within an origin", path)
	}
	whole := strings.Trim(l.Path+"/"+path, "/")
	mapped := mapName(whole, true)
	all := []string{mapped}
	// A server that isn't Windows may have a space or a dot at the end as it is.
	if plain := mapName(whole, false); plain != mapped {
		all = append(all, plain)
	}
	if older := strings.ReplaceAll(strings.Map(mapServicesForUnix, whole), "/", `\`); strings.ContainsAny(whole, `"*:<>?\|`) {
		all = append(all, older)
	}
	return all, nil
}

// mapName maps each part of a path; ends, also a space or dot that it ends with.
func mapName(path string, ends bool) string {
	if !ends && !strings.ContainsFunc(path, func(r rune) bool { return mapRune(r) != r }) {
		return strings.ReplaceAll(path, "/", `\`)
	}
	var b strings.Builder
	for i, r := range path {
		last := i+1 == len(path) || path[i+1:][0] == '/'
		switch {
		case r == '/':
			b.WriteByte('\\')
		case ends && last && r == ' ':
			b.WriteRune(0xf028)
		case ends && last && r == '.':
			b.WriteRune(0xf029)
		default:
			b.WriteRune(mapRune(r))
		}
	}
	return b.String()
}

func mapServicesForUnix(r rune) rune {
	if strings.ContainsRune(`"*:<>?\|`, r) {
		return 0xf000 + r
	}
	return r
}

func mapRune(r rune) rune {
	switch r {
	case '"':
		return 0xf020
	case '*':
		return 0xf021
	case ':':
		return 0xf022
	case '<':
		return 0xf023
	case '>':
		return 0xf024
	case '?':
		return 0xf025
	case '\\':
		return 0xf026
	case '|':
		return 0xf027
	}
	if r > 0 && r < 0x20 {
		return 0xf000 + r
	}
	return r
}

// unmapName is the name of one file or folder as mapName had it.
func unmapName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == 0xf028:
			return ' '
		case r == 0xf029:
			return '.'
		case r > 0xf000 && r < 0xf020:
			return r - 0xf000
		}
		for _, c := range `"*:<>?\|` {
			if mapRune(c) == r {
				return c
			}
		}
		return r
	}, name)
}
