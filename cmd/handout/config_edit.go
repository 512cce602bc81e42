package main

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// setInConfig sets one key, such as "site.name", in the text of a config, and leaves everything else as a person wrote it: a line
// that sets the key is replaced, or there is a new one where its table begins. value is TOML.
func setInConfig(text []byte, key, value string) []byte {
	table, name := "", key
	if t, n, ok := strings.Cut(key, "."); ok {
		table, name = t, n
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	line := name + " = " + value
	in, at := "", -1 // at: where a new line belongs
	if table == "" {
		at = len(all)
	}
	for i, l := range all {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			if in == "" && table == "" {
				at = min(at, i) // keys of no table come before all tables
			}
			in = strings.Trim(l[:strings.LastIndex(l, "]")+1], "[] ")
			if in == table && !strings.HasPrefix(l, "[[") {
				at = i + 1
			}
			continue
		}
		if k, _, ok := strings.Cut(l, "="); ok && in == table && strings.TrimSpace(k) == name {
			all[i] = line
			return joined(all)
		}
	}
	if at < 0 {
		all = append(all, "", "["+table+"]")
		at = len(all)
	}
	return joined(slices.Insert(all, at, line))
}

func joined(all []string) []byte {
	return append(bytes.TrimLeft([]byte(strings.Join(all, "\n")), "\n"), '\n')
}

// tomlText is a string as TOML: as it is if it can be, as paths of Windows have backslashes.
func tomlText(s string) string {
	if strings.ContainsAny(s, "'\n\r\t") {
		return strconv.Quote(s)
	}
	return "'" + s + "'"
}
