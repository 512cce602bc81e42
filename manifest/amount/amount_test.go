package amount_test

import (
	"testing"

	"handout/manifest/amount"
)

func TestLimit(t *testing.T) {
	for n, want := range map[int64]string{
		0: "no limit", 10_000: "10 kB/s", 1_000_000: "1 MB/s", 20_000_000: "20 MB/s", 12_500_000: "12.5 MB/s", 125_000: "125 kB/s",
		512 << 10: "512 KiB/s", 1 << 20: "1 MiB/s", 3 << 29: "1.5 GiB/s", 1_024_000: "1.024 MB/s", 999: "999 B/s",
		1e12: "1 TB/s", 12_345: "12.345 kB/s",
	} {
		if got := amount.Limit(n); got != want {
			t.Errorf("%d bytes per second: %q, not %q", n, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 64 << 20: "64.0 MiB", 3 << 29: "1.5 GiB", 200 << 30: "200 GiB",
	} {
		if got := amount.Bytes(n); got != want {
			t.Errorf("%d bytes: %q, not %q", n, got, want)
		}
	}
	if got := amount.Share(300<<20, 1434<<20); got != "0.3/1.4 GiB" {
		t.Errorf("a share is %q", got)
	}
}
