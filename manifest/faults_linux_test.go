package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody does something without root's right to read everything.
func asNobody(t *testing.T, tree string, do func()) {
	if os.Geteuid() == 0 {
		for dir := tree; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := syscall.Seteuid(65534); err != nil {
			t.Fatal(err)
		}
		defer syscall.Seteuid(0)
	}
	do()
}

// TestAllFaultsAtOnce: whoever mends a tree fault by fault, hashing it each time, needs a day.
func TestAllFaultsAtOnce(t *testing.T) {
	long := strings.Repeat("x", 250)
	deep := strings.Repeat(long+"/", 13)
	tree := writeTree(t, "pkg", map[string]string{
		"good": "g", "a?": "", "b/c:d": "", "dot.": "", "D/": "", "d/": "", "no\xff": "", "esc\x1bape/below": "", "out>": "../x", "abs>": "/etc/passwd",
		"ring1>": "ring2", "ring2>": "ring1", "through>": "out2/x", "out2>": "d/..", "secret": "s", "secrets/x": "x", "dangling>": "nothing",
		"win>": "d/a|b",
	})
	at := tree
	for element := range strings.SplitSeq(strings.TrimSuffix(deep, "/"), "/") { // too long for one call
		fd, err := unix.Open(at, unix.O_PATH, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkdirat(fd, element, 0o755); err != nil {
			t.Fatal(err)
		}
		at = fmt.Sprintf("/proc/self/fd/%d/%s", fd, element)
		defer unix.Close(fd)
	}
	for _, name := range []string{"secret", "secrets"} {
		if err := os.Chmod(filepath.Join(tree, name), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(tree, name), 0o755) })
	}
	if err := syscall.Mkfifo(filepath.Join(tree, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	asNobody(t, tree, func() {
		_, err := Build(t.Context(), tree, BuildOptions{})
		faults, ok := errors.AsType[*Faults](err)
		if !ok || !errors.Is(err, ErrWindowsName) || !errors.Is(err, fs.ErrPermission) {
			t.Fatalf("%v", err)
		}
		for kind, want := range map[FaultKind]string{
			BadName:      `"esc\x1bape" "no\xff" "xxx`,
			BadOnWindows: `"a?" "b/c:d" "d" "dot." "win"`,
			Unreadable:   `"secret" "secrets"`,
			SpecialFile:  `"fifo"`,
			BadSymlink:   `"abs" "out" "ring1" "ring2"`,
		} {
			var got []string
			first, n := faults.Of(kind)
			for _, f := range first {
				got = append(got, fmt.Sprintf("%.15q", f.Path))
				checkPrintable(t, f)
			}
			if n != len(first) || !strings.HasPrefix(strings.Join(got, " "), want) && kind != BadName ||
				kind == BadName && !strings.Contains(strings.Join(got, " "), `"esc\x1bape" "no\xff"`) {
				t.Errorf("kind %d, %d faults: %s", kind, n, got)
			}
		}
		if n := len(faults.Sample()); n != faults.Count() {
			t.Errorf("%d of %d faults in the sample", n, faults.Count())
		}
		checkPrintable(t, err)
	})
}

// TestManyFaults: of many the first are named, some of every kind, and the others counted.
func TestManyFaults(t *testing.T) {
	entries := map[string]string{"l>": "/x"}
	for i := range 300 {
		entries[fmt.Sprintf("%03d?", i)] = ""
	}
	_, err := Build(t.Context(), writeTree(t, "pkg", entries), BuildOptions{})
	faults, ok := errors.AsType[*Faults](err)
	if !ok || faults.Count() != 301 {
		t.Fatalf("%v", err)
	}
	sample := faults.Sample()
	if len(sample) != faultsKept || sample[0].Path != "000?" || sample[18].Path != "018?" || sample[19].Path != "l" {
		t.Errorf("%v", sample)
	}
	if !strings.Contains(err.Error(), "and 300 more") || len(err.Error()) > 500 {
		t.Errorf("%v", err)
	}
}

// TestExcludedFolderIsNotOpened: lost+found belongs to root, whoever publishes.
func TestExcludedFolderIsNotOpened(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{"a": "a", "lost+found/x": "x"})
	folder := filepath.Join(tree, "lost+found")
	if err := os.Chmod(folder, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(folder, 0o755) })
	asNobody(t, tree, func() {
		var survey Survey
		if _, err := Build(t.Context(), tree, BuildOptions{Survey: &survey}); err == nil || !slices.Contains(survey.Leftovers, "lost+found") {
			t.Errorf("%v, %q", err, survey.Leftovers)
		}
		if m := open(t, build(t, tree, BuildOptions{Exclude: []string{"lost+found"}})); strings.Join(paths(m), " ") != "a" {
			t.Errorf("%q", paths(m))
		}
	})
}
