package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"handout/manifest"
)

// ErrNotOwn: nothing proves that an agent of this user put at the destination what is there now.
var ErrNotOwn = errors.New("it was not put there by this agent, or was changed since")

// Claim is what makes a tree an agent's own.
type Claim struct {
	Known []manifest.InfoHash // the agent knows that it put these packages at the destination once
	Name  string              // without that knowledge: the package's name …
	Trust manifest.Trust      // … and who must have signed it
	Stage string              // where the record lies if not beside the destination, as Options.Stage
}

// Own returns the manifest of what stands at dest if a Tree with Options.Keep published just that there and nobody has
// changed it since, so that it may be replaced without anything of anybody else's being lost. Otherwise it is ErrNotOwn, with
// what is missing.
//
// An agent that knows what it put there needs the record beside the tree: every file has the size and time it was published
// with. Where the agent has lost its state, the record is a mark that others could have forged. It counts if it and the tree
// are this user's own files and nobody else may write to them, if a trusted publisher has signed the package of the right
// name that it tells of, and if every byte of that package lies there and nothing else.
//
// It changes nothing. ErrInUse: another Tree holds the record.
func Own(ctx context.Context, dest string, c Claim, progress func(done, total int64)) (*manifest.Manifest, error) {
	abs, parent, base, err := seatOf(dest, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOwn, wrap(err, "look whose is", abs))
	}
	defer parent.Close()
	if progress == nil {
		progress = func(done, total int64) {}
	}
	m, err := owned(ctx, parent, abs, base, c, progress)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrInUse) {
		err = fmt.Errorf("%w: %w", ErrNotOwn, err)
	}
	return m, err
}

func owned(ctx context.Context, parent *os.Root, abs, base string, c Claim, progress func(done, total int64)) (*manifest.Manifest, error) {
	s, err := openMark(parent, abs, base, c.Stage)
	if err != nil {
		return nil, err
	}
	defer s.close()
	m, err := readManifest(s.root, standingName, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		return nil, fmt.Errorf("its record names no package: %w", err)
	}
	forged := isMine(0, s.path("."), s.path(standingName), s.path(recordName))
	hashed := forged != nil
	if !slices.Contains(c.Known, m.InfoHash) {
		hashed = true
		if forged == nil {
			top, _ := topMode(m) // a publisher may have let a group write to it: that every byte is right is looked at in any case
			forged = isMine(top, abs)
		}
		if forged == nil {
			_, forged = readManifest(s.root, standingName, c.Trust)
		}
		if forged == nil && m.Name != c.Name {
			forged = fmt.Errorf("its record says that %q lies there", m.Name)
		}
		if forged != nil {
			return nil, forged
		}
	}
	hash, stamps := s.standing()
	at, err := openIn(parent, base, newLayout(m, nil), abs, Options{}.withDefaults().MaxOpen)
	if err != nil {
		return nil, err
	}
	defer at.close()
	v, err := at.look(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(v.Extra) > 0:
		return nil, fmt.Errorf("%s is not of %q %s", filepath.Join(abs, filepath.FromSlash(v.Extra[0])), m.Name, m.Version)
	case !v.Matches():
		return nil, fmt.Errorf("files of %q %s are missing or changed", m.Name, m.Version)
	case hash != m.InfoHash || !slices.EqualFunc(unpackTimes(stamps), times(v.files), time.Time.Equal):
		return nil, fmt.Errorf("files of %q %s were written to", m.Name, m.Version)
	}
	if hashed {
		if err := at.hash(ctx, v, true, progress); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// openMark locks the staging folder of a published tree, without making anything.
func openMark(parent *os.Root, abs, base, stage string) (*staging, error) {
	if s, err := lockMark(parent, stagingName(base)); err == nil || stage == "" || !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	around, err := os.OpenRoot(stage)
	if err != nil {
		return nil, err
	}
	defer around.Close() // what is opened in it stays open
	return lockMark(around, stageName(abs))
}

func lockMark(around *os.Root, name string) (*staging, error) {
	root, err := openWithin(around, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it has no record beside it (%s): %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, file := range []string{standingName, recordName} {
		fi, err := root.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("its record is not complete (%s): %w", name, err)
		}
		if err == nil && !fi.Mode().IsRegular() {
			err = fmt.Errorf("%s is no file", filepath.Join(name, file))
		}
		if err != nil {
			return nil, err
		}
	}
	return lockAs(&staging{parent: around, name: name, looked: true})
}

// isMine says what of these paths somebody else has made or may write to, but for those whom mode lets.
func isMine(mode fs.FileMode, paths ...string) error {
	for _, path := range paths {
		fi, err := os.Lstat(path)
		if err == nil && !fi.IsDir() && !fi.Mode().IsRegular() {
			err = errors.New("is neither a file nor a folder")
		}
		if err == nil {
			err = mine(path, fi, mode)
		}
		if err != nil {
			return wrap(err, "look at", path)
		}
	}
	return nil
}
