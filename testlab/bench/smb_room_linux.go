package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"handout/sources/sourcetest"
	"handout/testlab/room"
)

// sharePort is where Samba listens on a lab's origin, which has all ports to itself.
const sharePort = 4455

// smbRoom: a room fares as well from a share as from HTTP.
func smbRoom(ctx context.Context, b *bench) error {
	results, err := b.fillRooms(ctx, roomContest{hosts: []int{8}, runs: 1, tools: []roomTool{{"handout, http", b.handoutRoom}, {"handout, share", b.shareRoom}}})
	if err != nil {
		return err
	}
	if err := results.table(os.Stdout); err != nil || len(results) < 2 {
		return err
	}
	web, share := results[0], results[1]
	last := func(a attempt) float64 { return a.time(a.Last) }
	fmt.Printf("  the share's beside HTTP's: T_last/T* %+.3f, origin bytes/F %+.3f\n",
		share.median(last)-web.median(last), share.median(attempt.Copies)-web.median(attempt.Copies))
	return nil
}

// shareRoom has the room fetch from a Samba beside its nginx, which then only serves to measure the link.
func (b *bench) shareRoom(ctx context.Context, r *room.Room) (a attempt, err error) {
	origin := r.Lab.Origin
	dir, err := os.MkdirTemp(b.dir, "samba-") // each run has a server of its own
	if err != nil {
		return a, err
	}
	s := &sourcetest.Samba{
		Shares:  map[string]string{"pkg": filepath.Dir(r.Tree)},
		Dir:     dir,
		Address: netip.AddrPortFrom(origin.Addr, sharePort).String(),
	}
	if err := origin.Do(s.Start); err != nil {
		return a, err
	}
	defer s.Stop()
	most := origin.WatchConnections(sharePort)
	a, fromOrigin, err := b.fetchInRoom(ctx, r, "--origin", s.URL("pkg/tree"))
	connections := most()
	if err != nil {
		return a, err
	}
	if a.OriginBytes > 0 {
		return a, fmt.Errorf("%d bytes came by HTTP, which was not the first choice", a.OriginBytes)
	}
	a.OriginBytes, a.MostConnections = fromOrigin, connections
	return a, nil
}
