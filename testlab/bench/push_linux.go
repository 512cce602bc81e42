package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent"
	"handout/agent/orders"
	"handout/agent/site"
	"handout/manifest"
)

// pushAgents is the site that a push must reach within pushLimit.
const (
	pushAgents = 50
	pushLimit  = 3 * time.Second
)

// push: how long a push takes from the desk to every agent of a site of 50, and until a package of 64 KiB is there. All are in
// this process, which makes them share two cores and one address: each is one host's worth of callers to the others.
func push(ctx context.Context, b *bench) error {
	var orderAll, packageAll []time.Duration
	for range max(b.runs, 3) {
		order, pkg, err := b.pushOnce(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("  run: the last of %d agents has the order after %.2f s, the package of 64 KiB after %.2f s\n", pushAgents, order.Seconds(), pkg.Seconds())
		orderAll, packageAll = append(orderAll, order), append(packageAll, pkg)
	}
	fmt.Printf("  a push reaches %d agents after %.2f s, its package is there after %.2f s (medians; wanted: the push within %.0f s)\n",
		pushAgents, median(orderAll).Seconds(), median(packageAll).Seconds(), pushLimit.Seconds())
	return nil
}

func (b *bench) pushOnce(ctx context.Context) (order, pkg time.Duration, err error) {
	dir, err := os.MkdirTemp(b.dir, "push-")
	if err != nil {
		return 0, 0, err
	}
	tree := filepath.Join(dir, "origin", "pushed")
	if err := errors.Join(os.MkdirAll(tree, 0o755), os.WriteFile(filepath.Join(tree, "file"), []byte(strings.Repeat(filepath.Base(dir), 64<<10/len(filepath.Base(dir)))), 0o644)); err != nil {
		return 0, 0, err
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(tree))))
	defer server.Close()
	key, public, err := manifest.GenerateKey()
	if err != nil {
		return 0, 0, err
	}
	raw, err := manifest.Build(ctx, tree, manifest.BuildOptions{Origins: []string{server.URL + "/pushed"}})
	if err == nil {
		raw, err = manifest.Sign(raw, key)
	}
	if err != nil {
		return 0, 0, err
	}
	m, err := manifest.Open(raw, manifest.Trust{Keys: []manifest.PublicKey{public}})
	if err != nil {
		return 0, 0, err
	}

	name := filepath.Base(dir)
	running, stop := context.WithCancel(ctx)
	var agents []*agent.Agent
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	begin := func(i int) error {
		home := filepath.Join(dir, fmt.Sprint(i))
		c := agent.Config{
			Site: name, Domains: []string{}, Installed: true, StateDir: filepath.Join(home, "state"),
			Cache:  agent.Cache{Dir: filepath.Join(home, "cache")},
			Pushes: agent.Pushes{Rules: orders.Rules{Push: []manifest.PublicKey{public}, Publish: []manifest.PublicKey{public}}},
		}
		for _, known := range agents[:min(3, len(agents))] {
			c.Seeds = append(c.Seeds, fmt.Sprintf("127.0.0.1:%d", known.PeerPort()))
		}
		if err := errors.Join(os.MkdirAll(c.StateDir, 0o755), os.MkdirAll(c.Cache.Dir, 0o755)); err != nil {
			return err
		}
		a, err := agent.New(c)
		if err != nil {
			return err
		}
		agents = append(agents, a)
		ended.Go(func() { a.Run(running) })
		return nil
	}
	for i := range pushAgents {
		if err := begin(i); err != nil {
			return 0, 0, err
		}
	}
	all := func(what string, ok func(i int) bool) error {
		limit := time.After(2 * time.Minute)
		for {
			missing := 0
			for i := range agents {
				if !ok(i) {
					missing++
				}
			}
			if missing == 0 {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-limit:
				return fmt.Errorf("%d of %d agents: not %s", missing, pushAgents, what)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	if err := all("met", func(i int) bool {
		st, _ := agents[i].Site()
		return st.Members >= pushAgents-2 // on a busy machine somebody is suspected at every moment
	}); err != nil {
		return 0, 0, err
	}

	now := time.Now()
	o := orders.Order{
		Kind: orders.Push, Name: m.Name, Site: name, Serial: uint64(now.UnixMilli()), Issued: now, Expires: now.Add(time.Hour),
		Manifest: sha256.Sum256(raw), Size: int64(len(raw)), InfoHash: m.InfoHash,
	}
	text, err := o.Sign(key)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	c, err := site.Ask(ctx, fmt.Sprintf("127.0.0.1:%d", agents[0].PeerPort()+1), orders.Greeting, name, nil)
	if err != nil {
		return 0, 0, err
	}
	err = orders.NewAsker(c).GiveOrder(text, raw)
	c.Close()
	if err != nil {
		return 0, 0, err
	}
	heard := func(i int) bool {
		return slices.ContainsFunc(agents[i].Orders(), func(s orders.Standing) bool { return s.Name == m.Name })
	}
	if err := all("ordered", heard); err != nil {
		return 0, 0, err
	}
	order = time.Since(began)
	err = all("fetched", func(i int) bool {
		_, err := os.Stat(filepath.Join(dir, fmt.Sprint(i), "cache", "pushed", "file"))
		return err == nil
	})
	return order, time.Since(began), err
}
