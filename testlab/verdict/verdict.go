package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// verdict gathers what go test tells. Tests are counted by their leaves: a test with subtests stands for nothing itself,
// unless it failed though none of them did.
type verdict struct {
	out     io.Writer
	verbose bool

	passed, failed, skipped int

	pkgs   map[string]*pkg
	order  []string            // reasons, as they came up
	reason map[string][]string // tests left out for it
}

// pkg is a package whose tests have not all ended.
type pkg struct {
	output      strings.Builder // what no test of its own said
	tests       map[string]*test
	anyTestFail bool
}

type test struct {
	output      strings.Builder
	parent      bool // it has subtests
	childFailed bool
}

func newVerdict(out io.Writer, verbose bool) *verdict {
	return &verdict{out: out, verbose: verbose, pkgs: make(map[string]*pkg), reason: make(map[string][]string)}
}

func (v *verdict) add(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(v.out, e.Output)
	case e.Package == "":
	case e.Test == "":
		v.addPackage(e)
	default:
		v.addTest(e)
	}
}

func (v *verdict) pkg(path string) *pkg {
	p := v.pkgs[path]
	if p == nil {
		p = &pkg{tests: make(map[string]*test)}
		v.pkgs[path] = p
	}
	return p
}

func (p *pkg) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
	}
	return t
}

func (v *verdict) addPackage(e event) {
	p := v.pkg(e.Package)
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "fail":
		if !p.anyTestFail {
			v.failed++ // it does not build, or a test brought the whole program down
		}
		// Tests that never ended say what they were doing when the program went down.
		for _, name := range sortedNames(p.tests) {
			if !v.verbose {
				fmt.Fprint(v.out, p.tests[name].output.String())
			}
		}
		fmt.Fprint(v.out, p.output.String())
		delete(v.pkgs, e.Package)
	case "pass", "skip":
		// The last line is "ok", the package and the seconds; before it may stand what TestMain said.
		if text := p.output.String(); e.Action == "pass" || v.verbose {
			fmt.Fprint(v.out, strings.TrimPrefix(text, "PASS\n"))
		}
		delete(v.pkgs, e.Package)
	}
}

func (v *verdict) addTest(e event) {
	p := v.pkg(e.Package)
	t := p.test(e.Test)
	var above *test
	if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
		above = p.test(e.Test[:i])
		above.parent = true
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
		if v.verbose {
			fmt.Fprint(v.out, e.Output)
		}
		return
	case "pass":
		if !t.parent {
			v.passed++
		}
	case "fail":
		if !t.childFailed {
			v.failed++
		}
		p.anyTestFail = true
		if above != nil {
			above.childFailed = true
		}
		if !v.verbose {
			fmt.Fprint(v.out, t.output.String())
		}
	case "skip":
		v.skipped++
		why := reasonIn(t.output.String())
		if v.reason[why] == nil {
			v.order = append(v.order, why)
		}
		v.reason[why] = append(v.reason[why], e.Test)
	default:
		return
	}
	delete(p.tests, e.Test)
}

// close prints the closing lines. A package that began and never ended counts as failed.
func (v *verdict) close() {
	for _, path := range sortedNames(v.pkgs) {
		v.failed++
		fmt.Fprintf(v.out, "FAIL\t%s [did not end]\n", path)
	}
	for _, why := range v.order {
		fmt.Fprintf(v.out, "left out: %s (%s)\n", strings.Join(v.reason[why], ", "), why)
	}
	fmt.Fprintf(v.out, "%d passed, %d failed, %d skipped\n", v.passed, v.failed, v.skipped)
}

// logLine is what t.Skip prints: file, line, message.
var logLine = regexp.MustCompile(`(?m)^\s+\S+\.go:\d+: (.*)$`)

func reasonIn(output string) string {
	all := logLine.FindAllStringSubmatch(output, -1)
	if len(all) == 0 || strings.TrimSpace(all[len(all)-1][1]) == "" {
		return "it does not say why"
	}
	return strings.TrimSpace(all[len(all)-1][1])
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
