package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/manifest"
	"handout/sources"
	"handout/sources/origin"
)

const (
	// lookTime is how long publish looks at all origins together.
	lookTime = 5 * time.Second
	// wholeMatters is how large a file is, in bytes, whose being sent only whole is worth a word.
	wholeMatters = 4 << 20
)

// lookAtOrigins asks each origin for some files of the package and says what is wrong there. It never fails: the tree may
// get to its place later, and a machine may see what this one can't.
func (a *app) lookAtOrigins(ctx context.Context, m *manifest.Manifest, o origin.Options) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, errTimedOut)
	defer cancel()
	files := telling(m)
	found := make([]string, len(m.Origins))
	var looking sync.WaitGroup
	for i, where := range m.Origins {
		looking.Go(func() { found[i] = lookAt(ctx, m, files, where, o) })
	}
	looking.Wait()
	for i, text := range found {
		if text != "" {
			a.warn("%s: %s", printable(m.Origins[i]), printable(text))
		}
	}
}

// telling are the files that are most likely to tell what is wrong with an origin, by index in m.Files: the largest, the
// first, the last, the deepest, and one of each kind of name that servers stumble over.
func telling(m *manifest.Manifest) (files []int) {
	picks := map[string]int{}
	for i := range m.Files {
		f := &m.Files[i]
		if f.Target != "" || f.Length == 0 {
			continue
		}
		pick := func(what string, better func(than *manifest.File) bool) {
			if at, ok := picks[what]; !ok || better(&m.Files[at]) {
				picks[what] = i
			}
		}
		never := func(*manifest.File) bool { return false }
		pick("first", never)
		pick("last", func(*manifest.File) bool { return true })
		pick("largest", func(than *manifest.File) bool { return f.Length > than.Length })
		pick("deepest", func(than *manifest.File) bool { return strings.Count(f.Path, "/") > strings.Count(than.Path, "/") })
		if strings.HasPrefix(path.Base(f.Path), ".") || strings.Contains(f.Path, "/.") {
			pick("hidden", never)
		}
		if strings.ContainsAny(f.Path, "%+#?&;=@,[]") {
			pick("of a URL", never)
		}
		if manifest.CheckWindows(f.Path) != nil {
			pick("not on Windows", never)
		}
		if strings.ContainsFunc(f.Path, func(r rune) bool { return r > 0x7f }) {
			pick("not ASCII", never)
		}
		if strings.Contains(f.Path, " ") {
			pick("with a blank", never)
		}
		if f.Mode&0o044 != 0o044 {
			pick("shut", never)
		}
		for _, kind := range []string{".php", ".asp", ".aspx", ".cgi", ".config", ".exe", ".dll", ".bat", ".gz"} {
			if strings.EqualFold(path.Ext(f.Path), kind) { // which servers run, hide or encode
				pick(kind, never)
			}
		}
	}
	for _, i := range picks {
		files = append(files, i)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// lookAt says what is wrong with one origin, in a sentence; empty: nothing.
func lookAt(ctx context.Context, m *manifest.Manifest, files []int, where string, o origin.Options) string {
	if runtime.GOOS != "windows" && windowsPath.MatchString(where) && !origin.IsShare(where) {
		return "" // a drive of the machines
	}
	from, err := origin.Open(where, o)
	if err != nil {
		return "nothing can be read from it: " + err.Error()
	}
	defer from.Close()
	var missing, wrong, denied, other []string
	whole := ""
	for n, i := range files {
		f := &m.Files[i]
		name := f.Path
		if m.Single {
			name = ""
		}
		err := sources.Probe(ctx, from, name, f.Length)
		if e, ok := errors.AsType[*sources.ReadError](err); ok {
			err = e.Err
		}
		switch {
		case err == nil:
		case ctx.Err() != nil && n == 0:
			return fmt.Sprintf("no answer within %v; whether the package is there was not seen", lookTime)
		case ctx.Err() != nil:
			return worst(missing, wrong, denied, other, n)
		case errors.Is(err, sources.ErrMissing):
			missing = append(missing, shown(m, f)+reasonOf(err))
		case errors.Is(err, sources.ErrDenied):
			denied = append(denied, fmt.Sprintf("%s (%v)", shown(m, f), err))
		case errors.Is(err, sources.ErrSize):
			wrong = append(wrong, fmt.Sprintf("%s (%v)", shown(m, f), err))
		case errors.Is(err, sources.ErrNoRanges):
			if f.Length >= wholeMatters {
				whole = shown(m, f)
			}
		default:
			if _, notNow := sources.Retryable(err); notNow && n == 0 {
				return fmt.Sprintf("it does not answer here (%v); whether the package is there was not seen", errors.Unwrap(err))
			}
			other = append(other, fmt.Sprintf("%s (%v)", shown(m, f), err))
		}
	}
	if text := worst(missing, wrong, denied, other, len(files)); text != "" {
		return text
	}
	if whole != "" {
		return "the server sends files only whole (no byte ranges: " + whole + "): one machine at a time can read from it. A server with ranges is faster"
	}
	return ""
}

// shown is a file in a sentence.
func shown(m *manifest.Manifest, f *manifest.File) string {
	if m.Single {
		return "the file"
	}
	return f.Path
}

// reasonOf is what an origin adds to the fact that a file is missing, if that is worth reading.
func reasonOf(err error) string {
	if text := err.Error(); strings.Contains(text, "Windows can't have") {
		return " (" + strings.TrimPrefix(text, sources.ErrMissing.Error()+": ") + ")"
	}
	return ""
}

// worst puts into a sentence what was wrong with some of the files that were looked for.
func worst(missing, wrong, denied, other []string, of int) string {
	var all []string
	say := func(what string, list []string) {
		if len(list) > 0 {
			all = append(all, fmt.Sprintf("%s: %s", what, strings.Join(list, ", ")))
		}
	}
	if len(missing) == of && of > 0 {
		all = append(all, "nothing of the package is there yet, for example not "+missing[0])
	} else {
		say("missing there", missing)
	}
	say("not as they are here", wrong)
	say("may not be read", denied)
	say("can't be read", other)
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (of %s that were looked for)", strings.Join(all, "; "), countText(of, "file"))
}

// besides is where the manifest would lie beside what an origin names: for machines, and empty if nothing is beside it.
func besides(where, name string) string {
	slash := "/"
	if strings.Contains(where, `\`) && !strings.Contains(where, "://") {
		slash = `\`
	}
	where = strings.TrimRight(where, `/\`)
	at := strings.LastIndexAny(where, `/\`)
	head, depth := "", 0
	if scheme, rest, ok := strings.Cut(where, "://"); ok {
		head, depth = rest, 1 // the host
		if strings.EqualFold(scheme, "smb") {
			depth = 2 // and the share
		} else if strings.EqualFold(scheme, "file") {
			depth = 0
		}
	} else if origin.IsShare(where) {
		head, depth = strings.TrimLeft(where, `\`), 2
	}
	if at <= 0 || depth > 0 && strings.Count(strings.ReplaceAll(head, `\`, "/"), "/") < depth {
		return ""
	}
	if strings.Contains(where, "://") && !origin.IsShare(where) {
		name = strings.ReplaceAll(escapeName(name), "+", "%2B")
	}
	return where[:at] + slash + name
}

// fileOrigin reports whether an origin is a path, as this system or Windows writes it.
func fileOrigin(where string) bool { return !strings.Contains(where, "://") }

// tellNext says what comes next, in words that can be pasted.
func (a *app) tellNext(m *manifest.Manifest, output, keyFile string, key manifest.PublicKey) {
	trust := "--allow-unsigned"
	if len(m.Signatures) > 0 {
		trust = "--trust " + shellWord(publicKeyFor(keyFile, key))
	}
	from := shellWord(output)
	name := path.Base(strings.ReplaceAll(output, `\`, "/"))
	for _, o := range m.Origins {
		place := besides(o, name)
		if place == "" {
			continue
		}
		if from = shellWord(place); !fileOrigin(o) || place != output && !sameFile(place, output) {
			fmt.Fprintf(a.out, "Next: put %s beside the package, at %s, then on each machine:\n", printable(output), printable(place))
		} else {
			fmt.Fprintln(a.out, "Next, on each machine:")
		}
		fmt.Fprintf(a.out, "  handout fetch %s %s --dest %s\n", from, trust, shellWord(m.Root))
		return
	}
	fmt.Fprintf(a.out, "Next: copy %s to each machine, then there:\n  handout fetch %s %s --dest %s\n", printable(output), from, trust, shellWord(m.Root))
}
