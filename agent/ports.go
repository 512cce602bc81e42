package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"

	"handout/agent/site"
	"handout/agent/swarm"
)

// listen opens the port for neighbours and the one after it for members of the site.
func (a *Agent) listen() (err error) {
	if a.c.NoPeers {
		a.site, err = site.New(a.siteOptions())
		return err
	}
	port := a.c.PeerPort
	if port == 0 {
		return a.listenAnywhere()
	}
	if err = a.listenAt(port); isInUse(err) {
		if a.c.AnyPort {
			a.log.Info("the ports for neighbours are in use: others are taken", "port", port)
			return a.listenAnywhere()
		}
		return fmt.Errorf("TCP %d or %d: %w (%w): is another handout running? choose another port", port, port+1, ErrPortInUse, err)
	}
	return err
}

// portTries is how often a pair of free ports is looked for.
const portTries = 20

func (a *Agent) listenAnywhere() (err error) {
	for try := range portTries {
		if err = a.listenAt(anyPort(try)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: no two TCP ports in a row are free: %w", ErrPortInUse, err)
}

// anyPort is a port that may be free, as the one after it may. The system's choice would do for one port; the one after
// that is, on Linux, among those that outgoing connections get first and keep for a minute after their end, so that on a
// machine with many of them a pair is hardly ever free. Connections have ports from 32768 on Linux, from 49152 on Windows,
// if nobody has changed that: so the second half of the tries is left to the system.
func anyPort(try int) int {
	if try >= portTries/2 {
		return 0
	}
	const first, pairs = 20000, 6000
	return first + 2*rand.IntN(pairs)
}

func (a *Agent) listenAt(port int) (err error) {
	a.engine, err = swarm.New(swarm.Options{
		Listen: fmt.Sprintf(":%d", port), Admit: a.admits, Hold: a.moves.neighbours.Hold, Log: a.log, Receive: a.down.wait, Send: a.up.wait,
		Left: func(peer netip.AddrPort) { a.site.Doubt(peer) }, // nobody comes, and so leaves, before there is a site
	})
	if err != nil {
		return err
	}
	o := a.siteOptions()
	o.PeerPort, o.Port = a.engine.Port(), a.engine.Port()+1
	if a.site, err = site.New(o); err != nil {
		a.engine.Close()
	}
	return err
}

func (a *Agent) siteOptions() site.Options {
	return site.Options{
		Alone: a.c.NoPeers, Name: a.c.Site, Key: a.c.SiteKey, Installed: a.c.Installed, Networks: a.nets,
		Connections: a.c.SiteConnections, Log: a.log,
		Dialects: []site.Dialect{a.ordersDialect(), a.surveyDialect()}, Digest: a.orders.book.Digest, Heard: a.hearOrders,
		Met: func() { tell(a.faces) },
		Moved: func(from netip.Addr) {
			a.moves.moved(from)
			tell(a.faces)
		},
	}
}

// wsaeaddrinuse is what Windows calls EADDRINUSE.
const wsaeaddrinuse = syscall.Errno(10048)

func isInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeaddrinuse)
}
