package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"handout/manifest"
	"handout/manifest/amount"
)

// printable makes a line of text out of what others wrote: names in a manifest, answers of a server, errors that
// quote them. Control characters could repaint the terminal and direction marks could make a name read as another,
// so they appear as Go writes them in a string: \x1b, \u202e.
func printable(s string) string {
	if strings.IndexFunc(s, hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// errorText is an error in one line, without the secrets of URLs in it.
func errorText(err error) string {
	return printable(manifest.ShownIn(strings.ReplaceAll(err.Error(), "\n", "; "))) // errors.Join puts each on a line
}

// hidden reports whether r is a control, format or separator character, or one that no font has (Unicode Cc, Cf, Zl, Zp, Co).
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// sizeText, shareText and rateText are the amounts that most verbs show.
func sizeText(n int64) string           { return amount.Bytes(n) }
func shareText(n, total int64) string   { return amount.Share(n, total) }
func rateText(bytesPerSec int64) string { return amount.Rate(bytesPerSec) }

// timeText is a duration for people: 42 s, 3 min 5 s, 2 h 7 min.
func timeText(d time.Duration) string {
	switch {
	case d > 0 && d < 50*time.Millisecond:
		return "under 0.1 s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// percentText never says 100 before all is done.
func percentText(done, total int64) string {
	if total <= 0 || done >= total {
		return "100 %"
	}
	return fmt.Sprintf("%d %%", int(float64(done)/float64(total)*100))
}

// countText is a number with its noun: 1 file, 2 files.
func countText(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "ry"); ok {
		return fmt.Sprintf("%d %sries", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func addressStrings(addrs []netip.Addr) (all []string) {
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return all
}

func addressesText(addrs []netip.Addr) string { return strings.Join(addressStrings(addrs), ", ") }

// byteSize is a number of bytes as people write it in a flag: 65536, 64KiB, 1 MiB.
type byteSize int64

var byteUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}, {"", 1},
}

// Set implements pflag.Value.
func (b *byteSize) Set(s string) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/u.bytes {
			break
		}
		*b = byteSize(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is no size; write it like 65536, 64KiB or 1MiB", s)
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return sizeText(int64(*b))
}

// Type implements pflag.Value.
func (b *byteSize) Type() string { return "SIZE" }
