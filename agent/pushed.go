package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"handout/agent/orders"
	"handout/agent/site"
	"handout/manifest"
)

// Pushes say whose orders this machine obeys and where what they push may stand.
type Pushes struct {
	Rules orders.Rules      // Site is the agent's own; Publish: who signs packages, beside those on the list
	Roots map[string]string // the folders that orders may name, absolute; the cache is always one where there is one
}

// ordersDir is where the book of orders lies in the state folder.
func ordersDir(stateDir string) string {
	if stateDir == "" {
		return ""
	}
	return filepath.Join(stateDir, "orders")
}

// ordersDesk is what an agent knows about orders.
type ordersDesk struct {
	book *orders.Book
	told chan site.Told

	mu      sync.Mutex
	from    map[orders.ID]source // who handed an order on; of those taken since the start
	refused map[[sha256.Size]byte]time.Time

	placed *pushedTrees
}

// source is where an order came from.
type source struct {
	text   string         // for people
	member netip.AddrPort // the port for members; invalid: a desk, which brought the manifest with it
}

// OpenBook opens the book of orders in a state folder, to look at it: an agent may be using it. "": an empty one.
func OpenBook(stateDir string, rules orders.Rules) (*orders.Book, error) {
	return orders.Look(ordersDir(stateDir), rules)
}

// openOrders opens the book. A machine that can't keep orders, as nothing can be written in its state folder, obeys nobody:
// without manifests there is nothing to fetch either.
func (a *Agent) openOrders() {
	rules := a.c.Pushes.Rules
	rules.Site = a.c.Site
	a.orders = ordersDesk{told: make(chan site.Told, maxTold), from: map[orders.ID]source{}, refused: map[[sha256.Size]byte]time.Time{}}
	deaf := len(rules.Push) == 0 && len(rules.Root) == 0
	dir := ordersDir(a.c.StateDir)
	if deaf {
		dir = "" // nothing is made on the disk of a machine that obeys nobody
	}
	a.orders.placed = openPushedTrees(a.c.StateDir, a.log)
	var err error
	if a.orders.book, err = orders.Open(dir, rules, a.log); err != nil {
		a.log.Error("orders can't be kept: this machine obeys nobody until the next start", "error", err)
		a.Trouble("orders", err)
		a.orders.book, _ = orders.Open("", orders.Rules{Site: rules.Site, Publish: rules.Publish}, a.log) // in memory: nothing can fail
		return
	}
	a.orders.book.Tidy()
}

// Trust says whose packages this machine takes: the config's keys and those on the list of keys that was taken.
func (a *Agent) Trust() manifest.Trust { return manifest.Trust{Keys: a.orders.book.Publishers()} }

// Orders are the orders that stand on this machine.
func (a *Agent) Orders() []orders.Standing { return a.orders.book.Standing() }

// cacheNow is the config's cache, with what orders add to it at this moment.
func (a *Agent) cacheNow() Cache {
	c := a.c.Cache
	c.Trust.Keys = append(slices.Clone(c.Trust.Keys), a.orders.book.Publishers()...)
	c.Named = func(dest string) bool { return a.c.Cache.isNamed(dest) || a.orders.placed.holder(dest) != "" }
	return c
}

// ordersDialect answers neighbours and desks.
func (a *Agent) ordersDialect() site.Dialect {
	return site.Dialect{
		Greeting: orders.Greeting, Time: orders.ExchangeTime, AtOnce: orders.MaxCallers, OfOneHost: orders.MaxCallersOfOneHost,
		Serve: func(c site.Caller) error {
			return a.orders.book.Serve(c, c.End, giver{a, source{text: c.From.String()}})
		},
	}
}

// giver is a desk, or a neighbour that had an order from one: whatever it says counts as far as it is signed.
type giver struct {
	agent *Agent
	from  source
}

var _ orders.Desk = giver{}

// Judge implements orders.Desk. A neighbour's order would be taken and handed on all the same, but whoever pushes here wants it
// here.
func (g giver) Judge(text []byte) (o orders.Order, wants bool, err error) {
	a := g.agent
	o, err = a.orders.book.Judge(text)
	switch {
	case err != nil:
	case o.Kind == orders.Withdraw && !a.orders.book.Knows(o.Name):
		err = &orders.Refusal{Reason: orders.Unknown, Name: o.Name, Err: fmt.Errorf("this machine knows no order for %q", o.Name)}
	case o.Kind == orders.Push && o.Root != "":
		err = a.placing().refuses(o, nil)
	}
	if err != nil {
		a.refuseOrder(g.from, text, err)
		return o, false, err
	}
	return o, o.Kind == orders.Push && !a.orders.book.HasManifest(o.Manifest), nil
}

// Take implements orders.Desk.
func (g giver) Take(text []byte) error {
	a := g.agent
	o, err := a.orders.book.Judge(text)
	if err == nil && o.Kind == orders.Push {
		var m *manifest.Manifest
		if m, err = a.openPushed(o); err == nil {
			err = a.placing().refuses(o, m)
		}
	}
	if err != nil {
		a.refuseOrder(g.from, text, err)
		return err
	}
	return a.takeOrder(g.from, text)
}

// TakeKeys implements orders.Desk.
func (g giver) TakeKeys(text []byte) error { return g.agent.takeKeys(g.from, text) }

// takeOrder takes an order from whoever has it.
func (a *Agent) takeOrder(from source, text []byte) error {
	s, err := a.orders.book.Take(text)
	if errors.Is(err, orders.ErrKnown) {
		return err
	}
	if err != nil {
		a.refuseOrder(from, text, err)
		return err
	}
	a.orders.mu.Lock()
	a.orders.from[s.ID] = from
	a.orders.mu.Unlock()
	a.log.Info("order taken", "kind", s.Kind, "package", s.Name, "version", s.Version, "serial", s.Serial, "key", s.Signer, "from", from.text)
	a.journal.Record(Event{Kind: OrderTaken, Package: s.Name, Version: s.Version,
		Detail: fmt.Sprintf("%s, serial %d, signed by %s, from %s", s.Kind, s.Serial, s.Signer, from.text)})
	return nil
}

func (a *Agent) takeKeys(from source, text []byte) error {
	l, err := a.orders.book.TakeKeys(text)
	if errors.Is(err, orders.ErrKnown) {
		return err
	}
	if err != nil {
		a.refuseOrder(from, text, err)
		return err
	}
	a.log.Info("list of keys taken", "serial", l.Serial, "keys", len(l.Keys), "from", from.text)
	a.journal.Record(Event{Kind: KeysTaken, Detail: fmt.Sprintf("serial %d, %d keys, from %s", l.Serial, len(l.Keys), from.text)})
	return nil
}

// refusedAgain is how soon the same refusal is told again: neighbours that go on offering it are no news.
const (
	refusedAgain = 10 * time.Minute
	maxRefused   = 256
)

// refuseOrder tells why an order, or a list of keys, does not count.
func (a *Agent) refuseOrder(from source, text []byte, why error) {
	if errors.Is(why, orders.ErrKnown) {
		return
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\x00%v", text, why))
	now := time.Now()
	a.orders.mu.Lock()
	at, again := a.orders.refused[key]
	if len(a.orders.refused) >= maxRefused {
		clear(a.orders.refused)
	}
	a.orders.refused[key] = now
	a.orders.mu.Unlock()
	if again && now.Sub(at) < refusedAgain {
		return
	}
	e := Event{Kind: OrderRefused, Err: why}
	if from.text != "" {
		e.Detail = "from " + from.text
	}
	level := slog.LevelWarn
	if r, ok := errors.AsType[*orders.Refusal](why); ok {
		e.Package = r.Name
		if r.Reason == orders.TooOld && from.member.IsValid() {
			level = slog.LevelInfo // a machine that was off has not heard of the newer one: no attack, as a rule
		}
	}
	a.log.Log(context.Background(), level, "order refused: nothing is changed", "package", e.Package, "from", from.text, "error", why)
	a.journal.Record(e)
}

// errNotYet: the manifest of an order is not here.
var errNotYet = errors.New("its manifest has not come from a neighbour yet")

// openPushed opens the manifest that an order names. It must be what the order says, and signed by a trusted publisher:
// whoever may push can't make packages.
func (a *Agent) openPushed(o orders.Order) (*manifest.Manifest, error) {
	bad := func(err error) error { return &orders.Refusal{Reason: orders.BadGoods, Name: o.Name, Err: err} }
	raw, err := a.orders.book.Manifest(o.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotYet
	}
	if err != nil {
		return nil, err
	}
	m, err := manifest.Open(raw, a.Trust())
	switch {
	case err != nil:
		return nil, bad(err)
	case m.InfoHash != o.InfoHash || m.Name != o.Name || m.Version != o.Version:
		return nil, bad(fmt.Errorf("the manifest is of %q %q (%s), and the order is for %q %q (%s)",
			m.Name, m.Version, m.InfoHash, o.Name, o.Version, o.InfoHash))
	case m.Expired(time.Now()):
		return nil, bad(fmt.Errorf("the package expired on %s", m.Expires.Format(time.DateTime)))
	}
	return m, nil
}
