package api

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics shows a machine to Prometheus. Everything is read off its status at the moment of the scrape, so that there is
// one account of what happened and not two. Names follow the project's conventions: base units, counters end in _total.
type metrics struct{ machine Machine }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("handout_"+name, help, labels, nil)
}

var (
	descInfo        = desc("build_info", "Which program this is; always 1.", "version")
	descReceived    = desc("package_received_bytes_total", "Payload received of a package, by kind of source.", "package", "version", "source")
	descGiven       = desc("package_given_bytes_total", "Payload of a package given to neighbours.", "package", "version")
	descSize        = desc("package_size_bytes", "Size of a package.", "package", "version")
	descVerified    = desc("package_verified_bytes", "What is here of a package and was verified.", "package", "version")
	descAllReceived = desc("received_bytes_total", "Payload received of all packages, by kind of source.", "source")
	descAllGiven    = desc("given_bytes_total", "Payload of all packages given to neighbours.")
	descLeases      = desc("leases_total", "Leases on an origin connection that this machine was granted.")
	descLost        = desc("leases_lost_total", "Leases that could not be renewed in time.")
	descConnections = desc("origin_connections", "Origin connections this machine holds a lease for.")
	descSiteConns   = desc("site_origin_connections", "Origin connections of the whole site, as far as this machine knows.")
	descNeighbours  = desc("neighbours", "Machines this one exchanges pieces with.")
	descMembers     = desc("site_members", "Machines of the site, this one included.")
	descPieces      = desc("pieces_verified_total", "Pieces whose bytes match the manifest, by kind of source.", "source")
	descRefused     = desc("pieces_refused_total", "Pieces whose bytes do not match the manifest, by kind of source.", "source")
	descCache       = desc("cache_bytes", "What the packages of the cache take on disk.")
	descPaused      = desc("paused", "1 where an operator has paused everything.")
	descLimit       = desc("limit_bytes_per_second", "The limit of a direction; 0: none.", "direction")
	descTroubles    = desc("troubles", "Things that do not work at the moment: see handout status.")
	descRestarts    = desc("engine_restarts_total", "How often the engine was started again after it crashed.")
)

// Describe implements prometheus.Collector.
func (m metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descInfo, descReceived, descGiven, descSize, descVerified, descAllReceived, descAllGiven,
		descLeases, descLost, descConnections, descSiteConns, descNeighbours, descMembers, descPieces, descRefused, descCache,
		descPaused, descLimit, descTroubles, descRestarts} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m metrics) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) { send(d, prometheus.CounterValue, v, labels...) }
	gauge := func(d *prometheus.Desc, v int64, labels ...string) { send(d, prometheus.GaugeValue, v, labels...) }
	s := m.machine.Status()
	gauge(descInfo, 1, text(s.Version))
	seen := map[[2]string]bool{} // one name may be at two destinations; the first counts
	for _, p := range s.Packages {
		name, version := text(p.Name), text(p.Version)
		if seen[[2]string{name, version}] {
			continue
		}
		seen[[2]string{name, version}] = true
		counter(descReceived, p.FromOrigin, name, version, fromOrigin)
		counter(descReceived, p.FromPeers, name, version, fromPeers)
		counter(descGiven, p.ToPeers, name, version)
		gauge(descSize, p.Total, name, version)
		gauge(descVerified, p.Done, name, version)
	}
	counter(descAllReceived, s.FromOrigin, fromOrigin)
	counter(descAllReceived, s.FromPeers, fromPeers)
	counter(descAllGiven, s.ToPeers)
	counter(descLeases, s.Counts.Leases)
	counter(descLost, s.Counts.LeasesLost)
	gauge(descConnections, int64(s.Connections))
	gauge(descSiteConns, int64(s.SiteConnections))
	gauge(descNeighbours, int64(s.Neighbours))
	gauge(descMembers, int64(s.Members))
	counter(descPieces, s.Counts.OriginVerified, fromOrigin)
	counter(descPieces, s.Counts.PeersVerified, fromPeers)
	counter(descRefused, s.Counts.OriginRefused, fromOrigin)
	counter(descRefused, s.Counts.PeersRefused, fromPeers)
	gauge(descCache, s.CacheBytes)
	paused := int64(0)
	if s.Paused {
		paused = 1
	}
	gauge(descPaused, paused)
	gauge(descLimit, s.UpLimit, "up")
	gauge(descLimit, s.DownLimit, "down")
	troubles := int64(len(s.Errors))
	for _, p := range s.Packages {
		if p.Error != "" {
			troubles++
		}
	}
	gauge(descTroubles, troubles)
	counter(descRestarts, s.Restarts)
}

// The kinds of source.
const (
	fromOrigin = "origin"
	fromPeers  = "neighbours"
)

// scrapes is the page that Prometheus reads.
func (d *Door) scrapes() http.HandlerFunc {
	r := prometheus.NewRegistry()
	r.MustRegister(metrics{d.machine})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 2}).ServeHTTP
}

const maxLabel = 128

// text makes a label of what a stranger wrote: UTF-8, and not too long.
func text(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxLabel)], "")
}
