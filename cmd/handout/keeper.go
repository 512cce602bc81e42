package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"handout/agent"
	"handout/agent/api"
	"handout/agent/atomicfile"
	"handout/agent/store"
	"handout/manifest"
	"handout/sources/origin"
)

const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

var (
	errExpired = errors.New("expired")
	// errOther: whoever can answer for the manifest's server shows a package that its publisher signed for another place.
	errOther = errors.New("another package")
)

// keeper keeps one package of the config here and up to date. The record, a copy of the manifest it last fetched,
// lets it go on after a restart while the manifest's server is away, and tells which tree it put there itself.
type keeper struct {
	agent    *agent.Agent
	pkg      packageConfig
	cacheDir string
	record   string
	trust    func() manifest.Trust // a newer list of keys changes it
	refresh  time.Duration
	origins  origin.Options
	log      *slog.Logger

	here *manifest.Manifest // the package that stands at dest and is given to neighbours; nil: none yet
	dest string
}

// recordName names the record of p: another destination is another tree.
func recordName(p packageConfig) string {
	sum := sha256.Sum256([]byte(p.Manifest + "\x00" + p.Dest))
	return fmt.Sprintf("package-%x.torrent", sum[:16])
}

// namedDests are the places of the packages that the config names, as far as they are known: where a package without a dest
// lies is told by the record of its last fetch.
func (c *agentConfig) namedDests() map[string]bool {
	named := map[string]bool{}
	for _, p := range c.Packages {
		dest := p.Dest
		if dest == "" {
			var m *manifest.Manifest
			err := recordFile(filepath.Join(c.StateDir, recordName(p))).Look(func(raw []byte) (err error) {
				m, err = manifest.Open(raw, showing)
				return err
			})
			if err != nil {
				continue
			}
			dest = filepath.Join(c.CacheDir, m.Root)
		}
		if abs, err := filepath.Abs(dest); err == nil {
			named[abs] = true
		}
	}
	return named
}

// run returns when ctx ends.
func (k *keeper) run(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		wait := k.refresh
		err := k.update(ctx)
		if ctx.Err() == nil {
			k.agent.Trouble(k.pkg.Manifest, err)
		}
		if err != nil && ctx.Err() == nil {
			wait = min(retry, k.refresh)
			retry = min(2*retry, lastRetry)
			k.log.Warn("package not up to date", "error", err, "again_in", wait.String())
		} else {
			retry = firstRetry
		}
		select {
		case <-time.After(spread(wait)):
		case <-ctx.Done():
		}
	}
}

// spread keeps a room of agents from asking a server all at once.
func spread(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// update brings the newest version here.
func (k *keeper) update(ctx context.Context) error {
	recorded, err := k.recorded()
	if err != nil {
		k.log.Warn("record not usable; the package is fetched anew", "error", err)
	}
	m, err := k.read(ctx)
	if err == nil {
		err = k.isOther(m, recorded)
	}
	other := err
	if !errors.Is(err, errOther) {
		other = nil
	}
	if err != nil {
		goesOn := k.here == nil && recorded != nil && !recorded.Expired(time.Now()) && !errors.Is(err, errExpired) &&
			k.isOther(recorded, recorded) == nil
		if !goesOn {
			return err
		}
		k.log.Warn("manifest not to be had; goes on with the last one", "error", err)
		m = recorded
	}
	if recorded != nil && m.Name == recorded.Name && m.Serial < recorded.Serial {
		return fmt.Errorf("serial %d is older than %d, which is here: somebody may be handing out an old version", m.Serial, recorded.Serial)
	}
	if k.here != nil && k.here.InfoHash == m.InfoHash {
		return nil
	}
	if k.here != nil {
		k.log.Info("newer version", "name", m.Name, "version", m.Version, "serial", m.Serial)
	}
	dest := k.pkg.Dest
	if dest != "" {
		if dest, err = whither(dest, k.pkg.Follow); errors.Is(err, store.ErrLink) {
			err = fmt.Errorf("%w: follow = true goes to where it leads", err)
		}
		if err != nil {
			return err
		}
	} else {
		dest = filepath.Join(k.cacheDir, m.Root)
		if err := os.MkdirAll(k.cacheDir, 0o755); err != nil {
			return fmt.Errorf("make the cache folder: %w", err)
		}
	}
	k.log.Info("fetches", "name", m.Name, "version", m.Version, "serial", m.Serial, "dest", dest)
	o := agent.FetchOptions{Keep: true, Replace: k.pkg.Replace || recorded != nil, Own: &agent.OwnTrees{Trust: k.trust(), Newer: true}, Reuse: k.pkg.Reuse, Priority: api.Priority(k.pkg.Priority)}
	if recorded != nil && recorded.Root != m.Root && k.pkg.Dest == "" {
		o.Reuse = append([]string{filepath.Join(k.cacheDir, recorded.Root)}, o.Reuse...) // the last version
	}
	if _, err := k.agent.Fetch(ctx, m, dest, o); err != nil {
		return err
	}
	if k.here != nil && k.dest != dest {
		if err := k.agent.Unwant(k.dest); err != nil {
			k.log.Warn("the old version is still held", "dest", k.dest, "error", err)
		}
	}
	k.here, k.dest = m, dest
	return errors.Join(other, recordFile(k.record).Write(m.Raw()))
}

// isOther is an error if m is of another package than the one that is to be here: as the config names it, or else as it was
// named that came first.
func (k *keeper) isOther(m, recorded *manifest.Manifest) error {
	name := k.pkg.Name
	if name == "" && recorded != nil {
		name = recorded.Name
	}
	if name == "" || m.Name == name {
		return nil
	}
	return fmt.Errorf("the manifest is of %w, %q, where %q is to be: it is refused, and what stands at dest stays. Ask who looks "+
		"after the server; if the new name is right, say name = %q in this [[package]]", errOther, m.Name, name, m.Name)
}

// read reads the manifest the config names. An agent refuses one that has expired: nobody looks at it.
func (k *keeper) read(ctx context.Context) (*manifest.Manifest, error) {
	raw, err := k.raw(ctx)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Open(raw, k.trust())
	if err != nil {
		return nil, err
	}
	if m.Expired(time.Now()) {
		return nil, fmt.Errorf("%s: %w on %s", title(m), errExpired, m.Expires.Format(time.DateTime))
	}
	return m, nil
}

// raw reads the manifest's bytes. From a server it does so over one of the site's origin connections, since the agents of
// a site are started, and so look for a newer version, at the same time.
func (k *keeper) raw(ctx context.Context) (raw []byte, err error) {
	read := func(ctx context.Context) (err error) {
		raw, err = readManifest(ctx, k.pkg.Manifest, k.origins)
		return err
	}
	if isURL(k.pkg.Manifest) || origin.IsShare(k.pkg.Manifest) {
		err = k.agent.Visit(ctx, read)
	} else {
		err = read(ctx)
	}
	return raw, err
}

// recordFile is the record at path.
func recordFile(path string) atomicfile.State {
	return atomicfile.State{Path: path, Mode: 0o644, Most: manifest.MaxSize}
}

// recorded is the manifest of what was fetched last; nil: nothing was. One that was damaged is set aside, and read from its
// copy.
func (k *keeper) recorded() (*manifest.Manifest, error) {
	var raw []byte
	err := recordFile(k.record).Load(func(b []byte) error {
		_, err := manifest.Open(b, showing) // of whom it is, is another question
		raw = b
		return err
	})
	damage, damaged := errors.AsType[*atomicfile.Damage](err)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !damaged:
		return nil, nil
	case damaged && damage.Whole:
		k.log.Warn("the record of this package was damaged", "error", err)
	case err != nil:
		return nil, err
	}
	return manifest.Open(raw, k.trust())
}
