package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"handout/manifest"
)

func own(t *testing.T, dest string, c Claim) error {
	t.Helper()
	_, err := Own(t.Context(), dest, c, nil)
	if err != nil && !errors.Is(err, ErrNotOwn) {
		t.Errorf("%v is not ErrNotOwn", err)
	}
	return err
}

// What an agent put somewhere it may replace, though it has lost all it knew of it: the record beside the tree says whose it is.
func TestOwnTreeIsKnownByItsRecord(t *testing.T) {
	old, _, dest := twoVersions(t)
	old, trust := old.signed(t)
	old.publish(t, dest, Options{Keep: true})
	c := Claim{Name: old.m.Name, Trust: trust}
	must(t, own(t, dest, c))
	must(t, own(t, dest, Claim{Known: []manifest.InfoHash{old.m.InfoHash}}))
	if err := own(t, dest, Claim{Name: "other", Trust: trust}); err == nil {
		t.Error("it is another package's too")
	}
	if err := own(t, dest, Claim{Name: old.m.Name, Trust: manifest.Trust{Keys: []manifest.PublicKey{stranger(t)}}}); err == nil {
		t.Error("a record that no trusted publisher signed counts")
	}
	tree, err := Reopen(t.Context(), old.m, dest, Options{})
	must(t, err)
	if _, err := Own(t.Context(), dest, c, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is held: %v", err)
	}
	must(t, tree.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Own(ctx, dest, c, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ctx: %v", err)
	}
}

func stranger(t *testing.T) manifest.PublicKey {
	t.Helper()
	_, key, err := manifest.GenerateKey()
	must(t, err)
	return key
}

// Whoever forges the record beside a tree, or moves a real one beside somebody's tree, must not have an agent destroy that.
func TestForgedRecordLosesNobodysTree(t *testing.T) {
	for what, forge := range map[string]func(t *testing.T, dest, mark string){
		"the content is another, of the same sizes and times": func(t *testing.T, dest, mark string) {
			eachFile(t, dest, func(path string, info os.FileInfo) {
				must(t, os.WriteFile(path, []byte(strings.Repeat("x", int(info.Size()))), 0o644))
				must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			})
		},
		"a byte is another": func(t *testing.T, dest, mark string) {
			done := false
			eachFile(t, dest, func(path string, info os.FileInfo) {
				if done || info.Size() == 0 {
					return
				}
				done = true
				b, err := os.ReadFile(path)
				must(t, err)
				b[len(b)-1] ^= 1
				must(t, os.WriteFile(path, b, 0o644))
				must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			})
		},
		"a file more": func(t *testing.T, dest, mark string) {
			must(t, os.WriteFile(filepath.Join(dest, "thesis.odt"), []byte("three years"), 0o644))
		},
		"a folder more": func(t *testing.T, dest, mark string) { must(t, os.Mkdir(filepath.Join(dest, "mine"), 0o755)) },
		"a file less": func(t *testing.T, dest, mark string) {
			done := false
			eachFile(t, dest, func(path string, _ os.FileInfo) {
				if !done {
					must(t, os.Remove(path))
				}
				done = true
			})
		},
		"written to": func(t *testing.T, dest, mark string) {
			eachFile(t, dest, func(path string, info os.FileInfo) {
				must(t, os.Chtimes(path, time.Time{}, info.ModTime().Add(-time.Hour)))
			})
		},
		"a tree of somebody's": func(t *testing.T, dest, mark string) {
			must(t, os.RemoveAll(dest))
			must(t, os.MkdirAll(filepath.Join(dest, "photos"), 0o755))
		},
		"a link to a tree": func(t *testing.T, dest, mark string) {
			must(t, os.Rename(dest, dest+".real"))
			if err := os.Symlink(dest+".real", dest); err != nil {
				t.Skip("no symlinks here")
			}
		},
		"the record is a link": func(t *testing.T, dest, mark string) {
			must(t, os.Rename(mark, mark+".real"))
			if err := os.Symlink(mark+".real", mark); err != nil {
				t.Skip("no symlinks here")
			}
		},
		"the record's manifest is a link": func(t *testing.T, dest, mark string) {
			must(t, os.Rename(filepath.Join(mark, standingName), mark+".torrent"))
			if err := os.Symlink(mark+".torrent", filepath.Join(mark, standingName)); err != nil {
				t.Skip("no symlinks here")
			}
		},
		"the record's manifest has two names": func(t *testing.T, dest, mark string) {
			must(t, os.Link(filepath.Join(mark, standingName), mark+".torrent"))
		},
		"the record knows nothing": func(t *testing.T, dest, mark string) {
			must(t, os.WriteFile(filepath.Join(mark, recordName), nil, 0o600))
		},
		"half a record": func(t *testing.T, dest, mark string) { must(t, os.Remove(filepath.Join(mark, recordName))) },
		"no record":     func(t *testing.T, dest, mark string) { must(t, os.RemoveAll(mark)) },
		"a wrong package": func(t *testing.T, dest, mark string) {
			must(t, os.WriteFile(filepath.Join(mark, standingName), []byte("d4:infoe"), 0o600))
		},
	} {
		old, young, dest := twoVersions(t)
		old, trust := old.signed(t)
		old.publish(t, dest, Options{Keep: true})
		forge(t, dest, filepath.Join(filepath.Dir(dest), stagingName(filepath.Base(dest))))
		if err := own(t, dest, Claim{Name: old.m.Name, Trust: trust}); err == nil {
			t.Errorf("%s: it counts as the agent's own", what)
		}
		if what == "the content is another, of the same sizes and times" || what == "a byte is another" || strings.HasSuffix(what, "two names") {
			continue // the agent knows that it put just these there: what only hashing tells is not looked for
		}
		if err := own(t, dest, Claim{Known: []manifest.InfoHash{old.m.InfoHash}}); err == nil {
			t.Errorf("%s: it counts as the agent's own, which knows what it put there", what)
		}
		if err := own(t, dest, Claim{Known: []manifest.InfoHash{young.m.InfoHash}}); err == nil {
			t.Errorf("%s: what was put there is another package", what)
		}
	}
}

func eachFile(t *testing.T, dir string, do func(path string, info os.FileInfo)) {
	t.Helper()
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			do(path, info)
		}
		return err
	}))
}
