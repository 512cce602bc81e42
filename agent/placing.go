package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"handout/agent/orders"
	"handout/manifest"
)

// placing is where pushed packages may stand on a machine, and what stands there already. A machine asks it before it takes an
// order from a desk, so that whoever pushes hears at once what would never come about, and again when it obeys.
type placing struct {
	cache string            // "": none
	roots map[string]string // by the names that orders have for them
	held  func() []standing
	book  *orders.Book
	trees *pushedTrees
}

// standing is a package that a machine fetches or keeps up.
type standing struct {
	name, dest string
	hash       manifest.InfoHash
	pushed     bool // an order asks for it, and not the config
}

func (a *Agent) placing() placing {
	return placing{
		cache: a.c.Cache.Dir, roots: a.c.Pushes.Roots, book: a.orders.book, trees: a.orders.placed,
		held: func() (all []standing) {
			a.mu.Lock()
			defer a.mu.Unlock()
			for _, h := range a.held {
				if h.wanted {
					all = append(all, standing{h.m.Name, h.dest, h.m.InfoHash, h.job.isPushed()})
				}
			}
			return all
		},
	}
}

func noRoot(root string) error {
	return fmt.Errorf("the root %q is none of this machine's: its config allows it with [roots] %s = \"FOLDER\"", root, root)
}

// of is the place, an absolute path, that an order names for its package; m may be nil where the order names a root.
func (p placing) of(o orders.Order, m *manifest.Manifest) (dest string, err error) {
	no := func(err error) (string, error) {
		return "", &orders.Refusal{Reason: orders.NoRoot, Name: o.Name, Err: err}
	}
	dir := p.roots[o.Root]
	switch {
	case o.Root == "" && p.cache == "":
		return no(errors.New("this machine has no cache"))
	case o.Root == "":
		dest = filepath.Join(p.cache, m.Root)
	case dir == "":
		return no(noRoot(o.Root))
	default:
		dest = filepath.Join(dir, filepath.FromSlash(o.Path))
	}
	return filepath.Abs(dest)
}

// refuses says why the package of an order can't stand where the order says: a *orders.Refusal, or nil. Another place of the
// same package is given up for the new one.
func (p placing) refuses(o orders.Order, m *manifest.Manifest) error {
	no := func(format string, args ...any) error {
		return &orders.Refusal{Reason: orders.Taken, Name: o.Name, Err: fmt.Errorf(format, args...)}
	}
	if name := p.book.Clash(o); name != "" {
		return no("its place belongs to %s, which was pushed before: withdraw that, or choose another --path", name)
	}
	dest, err := p.of(o, m)
	if err != nil {
		return err
	}
	if name := p.trees.holder(dest); name != "" && name != o.Name {
		return no("%s belongs to %s, which was pushed before: withdraw that, or choose another place (--root, --path)", dest, name)
	}
	for _, s := range p.held() {
		switch same := s.hash == o.InfoHash; {
		case s.dest == dest && s.name != o.Name:
			return no("%s belongs to %s: choose another place (--root, --path)", dest, s.name)
		case same && s.dest != dest && !s.pushed:
			return no("this machine's config has it at %s, and a machine gives a package from one place", s.dest)
		}
	}
	return nil
}

// prepare makes the folders above a place beneath a root; one that is a link leads elsewhere than the config allows.
func (p placing) prepare(o orders.Order) error {
	if o.Root == "" {
		return nil
	}
	root, err := os.OpenRoot(p.roots[o.Root])
	if err != nil {
		return fmt.Errorf("open the root %q: %w", o.Root, err)
	}
	defer root.Close()
	elements := strings.Split(o.Path, "/")
	for i := range elements[:len(elements)-1] {
		above := filepath.Join(elements[:i+1]...)
		if err := root.Mkdir(above, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := root.Lstat(above)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return &orders.Refusal{Reason: orders.NoRoot, Name: o.Name, Err: fmt.Errorf("%s in the root %q is no folder of its own", above, o.Root)}
		}
	}
	return nil
}
