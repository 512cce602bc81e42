package bencode

import "strconv"

// AppendInt appends the integer n to b.
func AppendInt(b []byte, n int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, n, 10)
	return append(b, 'e')
}

// AppendString appends the string s to b. Dictionary keys are strings; the caller appends them in ascending order.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

// AppendStrings appends a list of strings to b.
func AppendStrings(b []byte, list []string) []byte {
	b = append(b, 'l')
	for _, s := range list {
		b = AppendString(b, s)
	}
	return append(b, 'e')
}
