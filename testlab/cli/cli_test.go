package cli

import (
	"reflect"
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	const printed = `{"event":"progress","phase":"fetching","done":5,"total":10,"origin_bytes_per_sec":7,"peer_bytes_per_sec":8,"neighbours":2,"why":"new field"}
{"event":"published","seconds":1.5}
{"event":"done","seconds":1.5,"files":3,"bytes":10,"from_origin":4,"from_peers":6,"to_peers":1,"exit":0}
`
	want := []Event{
		{Kind: "progress", Phase: "fetching", Done: 5, Total: 10, OriginBytesPerSec: 7, PeerBytesPerSec: 8, Neighbours: 2},
		{Kind: "published", Seconds: 1.5},
		{Kind: "done", Seconds: 1.5, Files: 3, Bytes: 10, FromOrigin: 4, FromPeers: 6, ToPeers: 1},
	}
	var got []Event
	if err := ReadEvents(strings.NewReader(printed), func(e Event) { got = append(got, e) }); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !got[2].Last() || got[1].Last() {
		t.Error("the last event is done, and only that")
	}
}

// Scripts parse this output: a stray line of a log in it is a fault, and must not hide what follows.
func TestStrayLineIsAnError(t *testing.T) {
	var got []string
	err := ReadEvents(strings.NewReader("2026/01/01 warning\n{}\n{\"event\":\"done\"}\n"), func(e Event) { got = append(got, e.Kind) })
	if err == nil || !strings.Contains(err.Error(), "warning") {
		t.Errorf("error %v", err)
	}
	if !reflect.DeepEqual(got, []string{"done"}) {
		t.Errorf("got %q", got)
	}
}
