package manifest

import (
	"slices"
	"testing"
	"time"
)

func TestExpired(t *testing.T) {
	created, expires := time.Unix(1000, 0), time.Unix(2000, 0)
	for _, c := range []struct {
		what    string
		expires time.Time
		now     int64
		want    bool
	}{
		{"in its time", expires, 1500, false},
		{"at its end", expires, 2000, true},
		{"after it", expires, 3000, true},
		{"without an end", time.Time{}, 1 << 40, false},
		{"by a clock that cannot be right", expires, 10, false},
	} {
		m := &Manifest{Created: created, Expires: c.expires}
		if got := m.Expired(time.Unix(c.now, 0)); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
}

func TestPieceLengthFor(t *testing.T) {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	for _, c := range []struct{ total, want int64 }{
		{0, 64 * kib}, {1, 64 * kib}, {64 * mib, 64 * kib}, {512 * mib, 64 * kib}, {512*mib + 1, 256 * kib},
		{gib, 256 * kib}, {6 * gib, 2 * mib}, {64 * gib, 16 * mib}, {1 << 40, 16 * mib},
	} {
		if got := PieceLengthFor(c.total); got != c.want {
			t.Errorf("%d bytes: %d, want %d", c.total, got, c.want)
		}
	}
}

// TestSpansOfManySmallFiles: a piece may hold hundreds, empty ones among them.
func TestSpansOfManySmallFiles(t *testing.T) {
	m := &Manifest{}
	for i := range 1000 {
		f := File{Offset: m.Length, Length: int64(i % 3)}
		m.Length += f.Length
		m.Files = append(m.Files, f)
	}
	spans := m.Spans(0, m.Length)
	if len(spans) != 666 {
		t.Errorf("%d spans", len(spans))
	}
	if got := m.Spans(1, 3); !slices.Equal(got, []Span{{2, 0, 2}, {4, 0, 1}}) {
		t.Errorf("%+v", got)
	}
	if got := m.Spans(m.Length-1, 1<<62); len(got) != 1 || got[0].Length != 1 {
		t.Errorf("at the end: %+v", got)
	}
	for _, outside := range [][2]int64{{m.Length, 1}, {-5, 5}, {0, 0}, {0, -1}, {1 << 62, 1 << 62}} {
		if got := m.Spans(outside[0], outside[1]); len(got) != 0 {
			t.Errorf("%d: %+v", outside, got)
		}
	}
}

// TestURLList: a stock client puts the root's name behind a web seed's URL, so only some origins can be one.
func TestURLList(t *testing.T) {
	for _, c := range []struct {
		origin string
		single bool
		want   []string
	}{
		{"https://o.example/a/pkg", false, []string{"https://o.example/a/"}},
		{"https://o.example/a/pkg/", false, []string{"https://o.example/a/"}},
		{"http://o.example/pkg", false, []string{"http://o.example/"}},
		{"http://o.example/a%20b/pkg", false, []string{"http://o.example/a%20b/"}},
		{"http://o.example/a/other", false, nil},
		{"http://o.example/", false, nil},
		{"http://o.example", false, nil},
		{"http://o.example/pkg?token=1", false, nil},
		{"file:///srv/pkg", false, nil},
		{"/srv/pkg", false, nil},
		{`\\server\share\pkg`, false, nil},
		{"http://o.example/a/pkg", true, []string{"http://o.example/a/pkg"}},
		{"http://o.example/a/pkg/", true, nil},
	} {
		if got := urlList([]string{c.origin}, "pkg", c.single); !slices.Equal(got, c.want) {
			t.Errorf("%s, single %t: %q, want %q", c.origin, c.single, got, c.want)
		}
	}
}
