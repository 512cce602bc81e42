package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a module of the given files, so that verdict judges a real go test, and changes to it.
func module(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example\n"
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
}

const head = "package a\nimport \"testing\"\n"

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		what  string
		files map[string]string
		args  []string
		err   string   // in the error; empty: none
		want  []string // in the output
		not   []string // not in the output
	}{
		{"what was left out is named with its reason", map[string]string{
			"a/a_test.go": head + `
func TestRuns(t *testing.T) { t.Log("chatter") }
func TestNginx(t *testing.T) { t.Log("looked for it"); t.Skip("needs nginx: make deps") }
func TestNginxToo(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Skip("needs nginx: make deps") }); t.Run("runs", func(*testing.T) {}) }
func TestRoot(t *testing.T) { t.Skip("needs root: as root") }`,
			"b/b_test.go": strings.Replace(head, "package a", "package b", 1) + "func TestMore(t *testing.T) {}",
		}, nil, "", []string{
			"ok  \texample/a", "ok  \texample/b",
			"left out: TestNginx, TestNginxToo/sub (needs nginx: make deps)\nleft out: TestRoot (needs root: as root)\n3 passed, 0 failed, 3 skipped\n",
		}, []string{"chatter", "=== RUN"}},
		{"-v shows what tests log", map[string]string{
			"a/a_test.go": head + `func TestRuns(t *testing.T) { t.Log("figures") }`,
		}, []string{"-v"}, "", []string{"figures", "1 passed, 0 failed, 0 skipped\n"}, nil},
		{"a failure is shown and counted once", map[string]string{
			"a/a_test.go": head + `func TestIt(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Error("wrong sum") }); t.Run("other", func(*testing.T) {}) }`,
		}, nil, "1 failed", []string{"wrong sum", "--- FAIL: TestIt/sub", "FAIL\texample/a", "1 passed, 1 failed, 0 skipped\n"}, nil},
		{"a package that does not build", map[string]string{
			"a/a_test.go": head + `func TestIt(t *testing.T) { undefined() }`,
		}, nil, "1 failed", []string{"undefined: undefined", "0 passed, 1 failed, 0 skipped\n"}, nil},
		{"a panic ends the program: the other tests never ran", map[string]string{
			"a/a_test.go": head + `func TestFine(t *testing.T) {}
func TestIt(t *testing.T) { panic("out of luck") }
func TestNever(t *testing.T) {}`,
		}, nil, "1 failed", []string{"out of luck", "1 passed, 1 failed, 0 skipped\n"}, nil},
		{"TestMain that exits", map[string]string{
			"a/a_test.go": `package a
import ("os"; "testing")
func TestMain(m *testing.M) { m.Run(); println("a goroutine leaked"); os.Exit(1) }
func TestIt(t *testing.T) {}`,
		}, nil, "1 failed", []string{"a goroutine leaked", "1 passed, 1 failed, 0 skipped\n"}, nil},
		{"a time-out", map[string]string{
			"a/a_test.go": head + `func TestIt(t *testing.T) { select {} }`,
		}, []string{"-timeout=1s"}, "failed", []string{"0 passed, 1 failed, 0 skipped\n"}, nil},
		{"nothing to run is no success", map[string]string{
			"a/a.go": "package a",
		}, nil, "no test ran", []string{"0 passed, 0 failed, 0 skipped\n"}, nil},
		{"only skipped is no success", map[string]string{
			"a/a_test.go": head + `func TestIt(t *testing.T) { t.Skip() }`,
		}, nil, "no test ran", []string{"left out: TestIt (it does not say why)\n0 passed, 0 failed, 1 skipped\n"}, nil},
		{"go test that will not start", map[string]string{
			"a/a_test.go": head + `func TestIt(t *testing.T) {}`,
		}, []string{"-count=x"}, "go test", nil, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			module(t, c.files)
			var out strings.Builder
			err := run(t.Context(), &out, append(c.args, "./..."))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("missing %q", w)
				}
			}
			for _, w := range c.not {
				if strings.Contains(out.String(), w) {
					t.Errorf("unwanted %q", w)
				}
			}
			if t.Failed() {
				t.Logf("the output:\n%s", &out)
			}
		})
	}
}
