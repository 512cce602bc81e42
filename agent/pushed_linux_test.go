package agent

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"handout/agent/orders"
)

// A hostile machine takes every place at the door that it can get, and holds it with nothing, with half a question, with
// endless lines, with goods nobody asked for. It gets its host's share, and an admin's push goes through.
func TestHostileMachineDoesNotShutTheDoor(t *testing.T) {
	d := newAdmin(t)
	a := run(t, d.machine(t))
	raw, o, _ := d.pack(t, "1", 1000)
	stale := d.sign(t, o)
	if err := d.give(t, a, stale, raw); err != nil {
		t.Fatal(err)
	}
	if err := d.give(t, a, d.sign(t, orders.Order{Kind: orders.Withdraw, Name: o.Name}), nil); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}, Timeout: 5 * time.Second}
	say := []string{
		"", "handout: ord", orders.Greeting + "\n", orders.Greeting + "\n" + `{"ask":"ind`,
		orders.Greeting + "\n" + strings.Repeat("x", 1<<16), orders.Greeting + "\n" + `{"ask":"order","size":16384}` + "\nhandout order 1\n",
		orders.Greeting + "\n" + `{"ask":"bring","size":67108864}` + "\n" + strings.Repeat("y", 1<<16),
		orders.Greeting + "\n" + strings.Repeat(`{"ask":"index"}`+"\n", 5000),
		orders.Greeting + "\n" + strings.Repeat(fmt.Sprintf(`{"ask":"order","size":%d}`+"\n%s", len(stale), stale), 50), // a replay, again and again
	}
	for i := range 300 {
		c, err := dialer.Dial("tcp4", memberPort(a))
		if err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
		defer c.Close()
		go io.Copy(io.Discard, c)
		go io.WriteString(c, say[i%len(say)])
	}
	began := time.Now()
	if err := d.give(t, a, d.sign(t, o), raw); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the push took %v", took)
	}
	if n := runtime.NumGoroutine() - before - 600; n > 300 { // the callers' own two each are not the agent's
		t.Errorf("%d goroutines more", n)
	}
	if n := len(a.events(OrderRefused)); n > 20 {
		t.Errorf("the same replay is told %d times", n)
	}
	soon(t, "the package is there", func() bool { return len(a.events(PackageFetched)) > 0 })
}
