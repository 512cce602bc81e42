// Package amount writes numbers of bytes for people, in errors, logs and pictures alike. What programs read (JSON, metrics)
// stays a plain number.
package amount

import "strconv"

// Bytes is a number of bytes with at most one decimal, in binary units (IEC 80000-13): 1.4 GiB.
func Bytes(n int64) string {
	unit, name := scale(n)
	return in(n, unit) + " " + name
}

// Share is a part of a whole, both in the unit of the whole: 0.3/1.4 GiB.
func Share(n, total int64) string {
	unit, name := scale(total)
	return in(n, unit) + "/" + in(total, unit) + " " + name
}

// Rate is a number of bytes per second, as Bytes writes it.
func Rate(bytesPerSec int64) string { return Bytes(bytesPerSec) + "/s" }

// Limit is a rate that a person chose, exactly and in the kind of unit it was most likely written in: 1 MB/s, 512 KiB/s,
// 12.5 MB/s. 0 is no limit.
func Limit(bytesPerSec int64) string {
	if bytesPerSec == 0 {
		return "no limit"
	}
	base, names := int64(1000), []string{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"}
	if bytesPerSec%1024 == 0 && bytesPerSec%1000 != 0 {
		base, names = 1024, []string{"B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"}
	}
	unit, name := int64(1), 0
	for name+1 < len(names) && bytesPerSec >= unit*base {
		unit, name = unit*base, name+1
	}
	return strconv.FormatFloat(float64(bytesPerSec)/float64(unit), 'f', -1, 64) + " " + names[name]
}

// scale is the unit to write n bytes in.
func scale(n int64) (unit float64, name string) {
	const prefixes = "KMGTPE"
	unit = 1
	for i := range prefixes {
		// What would be rounded to 1024 of a unit is 1 of the next.
		if float64(n)/unit < 1023.5 {
			break
		}
		unit, name = unit*1024, prefixes[i:i+1]+"i"
	}
	return unit, name + "B"
}

func in(n int64, unit float64) string {
	f, decimals := float64(n)/unit, 0
	if unit > 1 && f < 99.95 {
		decimals = 1
	}
	return strconv.FormatFloat(f, 'f', decimals, 64)
}
