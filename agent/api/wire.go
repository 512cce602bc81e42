package api

import (
	"slices"
	"time"
)

// What goes through the door, as JSON. Fields may be added, never renamed. Rates are bytes per second, times RFC 3339.
type (
	// Status is a machine.
	Status struct {
		Version         string    `json:"version"`
		PID             int       `json:"pid"`
		Started         time.Time `json:"started"`
		PeerPort        int       `json:"peer_port"` // 0: it takes no neighbours
		Site            string    `json:"site"`
		Members         int       `json:"site_members"` // this machine included
		Steward         string    `json:"steward"`
		SiteConnections int       `json:"site_origin_connections"` // in the whole site, as far as this machine knows
		Connections     int       `json:"origin_connections"`      // of this machine
		Neighbours      int       `json:"neighbours"`              // machines connected, each counted once
		Paused          bool      `json:"paused"`
		UpLimit         int64     `json:"up_limit"` // 0: none
		DownLimit       int64     `json:"down_limit"`
		FromOrigin      int64     `json:"from_origin"` // bytes since it started, of packages that are gone too
		FromPeers       int64     `json:"from_peers"`
		ToPeers         int64     `json:"to_peers"`
		CacheBytes      int64     `json:"cache_bytes"` // on disk, of packages in the cache
		Restarts        int64     `json:"restarts"`    // of the engine after crashes, since the agent was started
		Counts          Counts    `json:"counts"`
		Packages        []Package `json:"packages"`
		Errors          []Trouble `json:"errors"`   // what does not work at the moment
		Machines        []Member  `json:"machines"` // of the site: this one, then those it has known longest
	}
	// Member is a machine of the site.
	Member struct {
		Address   string    `json:"address"` // where it takes neighbours; of this machine as it knows itself
		Since     time.Time `json:"since"`   // when this machine met it
		Mine      bool      `json:"this"`
		Installed bool      `json:"installed"` // it stays; false: a fetch, which goes again
		Steward   bool      `json:"steward"`
		Blocked   string    `json:"inbound_blocked,omitempty"` // ports that others tried and could not reach: "TCP 4747"
	}
	// Counts are what happened since the engine started.
	Counts struct {
		Leases         int64 `json:"leases"`
		LeasesLost     int64 `json:"leases_lost"`
		OriginVerified int64 `json:"pieces_verified_from_origin"`
		PeersVerified  int64 `json:"pieces_verified_from_peers"`
		OriginRefused  int64 `json:"pieces_refused_from_origin"`
		PeersRefused   int64 `json:"pieces_refused_from_peers"`
	}
	// Package is one package on a machine.
	Package struct {
		InfoHash    string   `json:"info_hash"`
		Name        string   `json:"name"`
		Version     string   `json:"version"`
		Dest        string   `json:"dest"`
		State       State    `json:"state"`
		Paused      bool     `json:"paused"`
		Priority    Priority `json:"priority"`
		Done        int64    `json:"done"` // bytes verified
		Total       int64    `json:"total"`
		FromOrigin  int64    `json:"from_origin"`
		FromPeers   int64    `json:"from_peers"`
		ToPeers     int64    `json:"to_peers"`
		OriginRate  int64    `json:"origin_bytes_per_sec"`
		PeerRate    int64    `json:"peer_bytes_per_sec"`
		Neighbours  int      `json:"neighbours"`
		Connections int      `json:"origin_connections"`
		Remaining   *float64 `json:"remaining_seconds"` // null: unknown
		Why         string   `json:"why"`               // why the origin is, or is not, used
		Error       string   `json:"error,omitempty"`
		Pushed      *Pushed  `json:"pushed,omitempty"` // absent: the config names it, or it lies in the cache
	}
	// Pushed is the order by which a package came to a machine.
	Pushed struct {
		Key    string    `json:"key"` // the id of the key that signed it
		Serial uint64    `json:"serial"`
		Issued time.Time `json:"issued"`
		From   string    `json:"from,omitempty"` // who handed it on; empty: it was known when the agent started
	}
	// Trouble is something that does not work, and since when.
	Trouble struct {
		What  string    `json:"what"`
		Error string    `json:"error"`
		Since time.Time `json:"since"`
	}
	// Event is a fact.
	Event struct {
		Seq  uint64    `json:"seq"` // grows by one
		Time time.Time `json:"time"`
		Kind string    `json:"kind"`
		Text string    `json:"text"` // for people

		Package    string  `json:"package,omitempty"`
		Version    string  `json:"version,omitempty"`
		Dest       string  `json:"dest,omitempty"`
		Origin     string  `json:"origin,omitempty"`
		Bytes      int64   `json:"bytes,omitempty"`
		FromOrigin int64   `json:"from_origin,omitempty"`
		FromPeers  int64   `json:"from_peers,omitempty"`
		Seconds    float64 `json:"seconds,omitempty"`
		Error      string  `json:"error,omitempty"`
	}
	// PauseRequest names what to pause or resume.
	PauseRequest struct {
		Package string `json:"package"` // "": all
	}
	// OriginTest says what to read of an origin, and for how long with each number of connections.
	OriginTest struct {
		Origin       string `json:"origin"`
		File         string `json:"file,omitempty"`  // its path below the origin; "": one that can be found, or the origin itself
		Bytes        int64  `json:"bytes,omitempty"` // its size; 0: unknown
		Milliseconds int64  `json:"milliseconds"`
	}
	// OriginFindings are what a test found out.
	OriginFindings struct {
		Origin      string  `json:"origin"`
		Reachable   bool    `json:"reachable"`
		ConnectMS   float64 `json:"connect_ms,omitempty"`
		Dialect     string  `json:"dialect,omitempty"`
		As          string  `json:"as,omitempty"`
		Signed      *bool   `json:"signed,omitempty"`
		Encrypted   *bool   `json:"encrypted,omitempty"`
		Readable    bool    `json:"readable"`
		File        string  `json:"file,omitempty"`
		Bytes       int64   `json:"file_bytes,omitempty"`
		Connections []int   `json:"connections,omitempty"`   // with so many it was read
		Rates       []int64 `json:"bytes_per_sec,omitempty"` // with each of them
		Unrated     bool    `json:"unrated,omitempty"`       // no file is known that is large enough
		NoRanges    bool    `json:"no_ranges,omitempty"`     // a file can only be read from its front
		Mangled     string  `json:"mangled,omitempty"`       // a name that the server made up for one that Windows can't have
		Left        bool    `json:"left_out,omitempty"`      // more connections were not to be had
		Error       string  `json:"error,omitempty"`
		Advice      string  `json:"advice,omitempty"`
	}
	// LimitsRequest changes limits, in bytes per second; 0: none, AsConfigured: what the config says, absent: as it is.
	LimitsRequest struct {
		Up   *int64 `json:"up,omitempty"`
		Down *int64 `json:"down,omitempty"`
	}
	// PriorityRequest changes the priority of a package.
	PriorityRequest struct {
		Package  string   `json:"package"`
		Priority Priority `json:"priority"`
	}
	// Problem says why a request was refused (RFC 9457).
	Problem struct {
		Type   string `json:"type"` // about:blank
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}
)

// State is what a machine is doing about a package.
type State string

// The states.
const (
	Waiting  State = "waiting" // for something that keeps it from being fetched; Error says what
	Checking State = "checking"
	Fetching State = "fetching"
	Placing  State = "placing"
	Here     State = "here" // and given to neighbours
)

// AsConfigured is the limit that the config says.
const AsConfigured = -1

// Priority says which packages are fetched first: one waits while another above it arrives.
type Priority string

// The priorities.
const (
	Low    Priority = "low"
	Normal Priority = "normal"
	High   Priority = "high"
)

// Priorities are all, lowest first.
var Priorities = []Priority{Low, Normal, High}

// Above reports whether p comes before q.
func (p Priority) Above(q Priority) bool {
	return slices.Index(Priorities, p) > slices.Index(Priorities, q)
}
