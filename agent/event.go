package agent

import (
	"fmt"
	"strings"
	"time"

	"handout/agent/api"
	"handout/manifest"
	"handout/manifest/amount"
)

// Kind says what an Event tells of.
type Kind string

// The kinds. Their names are part of the audit log and never change their meaning.
const (
	Started          Kind = "agent_started"
	Stopped          Kind = "agent_stopped"
	EngineRestarted  Kind = "engine_restarted" // after a crash
	PackageFetched   Kind = "package_fetched"
	PackageFailed    Kind = "package_failed" // a fetch came to nothing, or a manifest is not to be had
	PieceRefused     Kind = "piece_refused"  // its bytes do not match the manifest
	OriginTrouble    Kind = "origin_trouble"
	LeaseLost        Kind = "lease_lost"
	NeighboursBanned Kind = "neighbours_banned"
	CacheEvicted     Kind = "cache_evicted" // a package, to make room
	Paused           Kind = "paused"
	Resumed          Kind = "resumed"
	LimitsChanged    Kind = "limits_changed"
	PriorityChanged  Kind = "priority_changed"
	OrderTaken       Kind = "order_taken"
	OrderRefused     Kind = "order_refused" // or not obeyed on this machine
	OrderEnded       Kind = "order_ended"   // withdrawn, or by a key that counts no more
	KeysTaken        Kind = "keys_taken"    // a newer list of keys
)

// crowded kinds are those that strangers can cause, or that come in swarms: of each only so many a minute are recorded.
var crowded = map[Kind]bool{PackageFailed: true, PieceRefused: true, OriginTrouble: true, LeaseLost: true, OrderRefused: true}

const crowdedPerMinute = 20

// Event is a fact about this machine that an operator may ask for later. Fields that its kind has no use for are zero.
type Event struct {
	Kind                  Kind
	Package, Version      string // as the manifest names them
	Dest                  string
	Origin                string // without credentials
	Bytes                 int64
	FromOrigin, FromPeers int64
	Took                  time.Duration
	Left                  int    // events of the kind that were left out before this one, since there were too many
	Detail                string // what else is to be said
	Err                   error
}

// text is the event in a sentence.
func (e Event) text() string {
	var b strings.Builder
	name := strings.TrimSpace(e.Package + " " + e.Version)
	switch e.Kind {
	case Started:
		b.WriteString("agent started")
	case Stopped:
		b.WriteString("agent stopped")
	case PackageFetched:
		fmt.Fprintf(&b, "%s is at %s after %s: from origin %s, from neighbours %s", name, e.Dest,
			e.Took.Round(time.Millisecond), amount.Bytes(e.FromOrigin), amount.Bytes(e.FromPeers))
	case PackageFailed:
		fmt.Fprintf(&b, "%s is not fetched", name)
	case PieceRefused:
		fmt.Fprintf(&b, "a piece of %s was refused: its bytes do not match the manifest", name)
	case OriginTrouble:
		fmt.Fprintf(&b, "%s can't be read for %s", e.Origin, name)
	case LeaseLost:
		fmt.Fprintf(&b, "a lease for %s could not be renewed: its connection to the origin was closed", name)
	case NeighboursBanned:
		b.WriteString("neighbours that sent wrong bytes are not spoken to for a while")
	case EngineRestarted:
		b.WriteString("the engine was started again after a crash")
	case CacheEvicted:
		fmt.Fprintf(&b, "%s was evicted from the cache", name)
	case Paused:
		b.WriteString("paused: " + orAll(name))
	case Resumed:
		b.WriteString("resumed: " + orAll(name))
	case PriorityChanged:
		b.WriteString("priority of " + name + " changed")
	case OrderTaken:
		b.WriteString("order taken for " + name)
	case OrderRefused:
		b.WriteString("order refused")
		if name != "" {
			b.WriteString(" for " + name)
		}
	case OrderEnded:
		b.WriteString(name + " is no longer kept up")
	case KeysTaken:
		b.WriteString("a newer list of keys counts")
	default:
		b.WriteString(strings.ReplaceAll(string(e.Kind), "_", " "))
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.ReplaceAll(manifest.ShownIn(e.Err.Error()), "\n", "; "))
	}
	if e.Left > 0 {
		fmt.Fprintf(&b, " (and %d more like it before)", e.Left)
	}
	return b.String()
}

func orAll(name string) string {
	if name == "" {
		return "all packages"
	}
	return name
}

// maxText bounds what others' words take of an event, in bytes.
const maxText = 2 << 10

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// wire is e as the door and the audit log show it.
func (e Event) wire(seq uint64, at time.Time) api.Event {
	w := api.Event{
		Seq: seq, Time: at, Kind: string(e.Kind), Text: clip(e.text()),
		Package: e.Package, Version: e.Version, Dest: e.Dest, Origin: e.Origin,
		Bytes: e.Bytes, FromOrigin: e.FromOrigin, FromPeers: e.FromPeers, Seconds: e.Took.Seconds(),
	}
	if e.Err != nil {
		w.Error = clip(manifest.ShownIn(e.Err.Error()))
	}
	return w
}
