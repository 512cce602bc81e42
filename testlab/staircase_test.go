// Package testlab_test holds the house to its plan: which room may know which. Files are parsed rather than listed by the
// go command, so that files of every system are seen, and no cached answer is believed.
package testlab_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "handout"

// rooms is the staircase: each room and those it may import, all of them further down. A folder belongs to the room with
// the longest name that is a prefix of its own; inside a room everything may import everything. testlab may use all and
// is used by none.
var rooms = map[string][]string{
	"manifest":           {},
	"discovery/networks": {},
	"sources":            {"manifest"},
	"discovery":          {"discovery/networks", "manifest"},
	"agent/atomicfile":   {"manifest"},
	"agent/plan":         {"manifest"},
	"agent/store":        {"agent/plan", "manifest"},
	"agent/swarm":        {"agent/plan", "discovery/networks", "manifest"},
	"agent/site":         {"agent/plan", "discovery/networks", "manifest"},
	"agent/api":          {"agent/atomicfile", "agent/plan", "manifest"},
	"agent/orders":       {"agent/atomicfile", "agent/plan", "manifest"},
	"agent": {"agent/atomicfile", "agent/orders", "agent/api", "agent/site", "agent/swarm", "agent/store", "agent/plan",
		"sources", "discovery", "discovery/networks", "manifest"},
	"cmd": {"agent", "agent/atomicfile", "agent/orders", "agent/api", "agent/site", "agent/swarm", "agent/store", "agent/plan",
		"sources", "discovery", "discovery/networks", "manifest"},
	"testlab": {"cmd", "agent", "agent/atomicfile", "agent/orders", "agent/api", "agent/site", "agent/swarm", "agent/store", "agent/plan",
		"sources", "discovery", "discovery/networks", "manifest"},
}

// aids are for tests of any room.
var aids = []string{"sources/sourcetest"}

// engine is the BitTorrent engine and what belongs to it. One room knows it; the manifest may use its parsers.
const engine = "github.com/anacrolix/"

var engineParsers = []string{"github.com/anacrolix/torrent/bencode", "github.com/anacrolix/torrent/metainfo"}

// entries are what may be seen at the top of the house, the results of make among them.
var entries = []string{
	"LICENSE", "Makefile", "README.md", "go.mod", "go.sum",
	"agent", "cmd", "discovery", "manifest", "sources", "testlab",
	"dist", "handout", "handout.exe",
}

func TestStaircase(t *testing.T) {
	house := os.DirFS("..")
	files := 0
	err := fs.WalkDir(house, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != "." && (strings.HasPrefix(name, ".") || name == "dist") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		files++
		text, err := fs.ReadFile(house, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range parsed.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if err := arrow(file, imported); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Fatalf("%d Go files found: this is not the house", files)
	}
}

func TestNothingElseAtTheTop(t *testing.T) {
	list, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(entries, e.Name()) {
			t.Errorf("%s is not on the list of top-level entries", filepath.Join("..", e.Name()))
		}
	}
}

// arrow returns an error if the file, named from the top of the house, must not import that package.
func arrow(file, imported string) error {
	from := roomOf(path.Dir(file))
	isTest := strings.HasSuffix(file, "_test.go")
	if from == "" {
		return fmt.Errorf("%s is in no room", file)
	}
	if strings.HasPrefix(imported, engine) {
		switch {
		case from == "agent/swarm" || from == "testlab":
		case from == "manifest" && slices.Contains(engineParsers, imported):
		default:
			return fmt.Errorf("%s imports %s: only agent/swarm knows the engine", file, imported)
		}
		return nil
	}
	inside, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return nil
	}
	to := roomOf(inside)
	switch {
	case to == "":
		return fmt.Errorf("%s imports %s, which is in no room", file, imported)
	case isTest && slices.Contains(aids, inside):
	case to == from || slices.Contains(rooms[from], to):
	default:
		return fmt.Errorf("%s imports %s: no arrow leads from %s to %s", file, imported, from, to)
	}
	return nil
}

// roomOf returns the room a folder is in, or "".
func roomOf(dir string) string {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok {
			return dir
		}
	}
	return ""
}

// A checker that finds nothing may be one that cannot.
func TestArrow(t *testing.T) {
	for _, c := range []struct {
		file, imported string
		ok             bool
	}{
		{"cmd/handout/fetch.go", "handout/agent", true},
		{"cmd/handout/verify.go", "handout/manifest", true},
		{"agent/fetch.go", "handout/agent/swarm", true},
		{"agent/fetch.go", "handout/sources/origin", true},
		{"agent/fetch.go", "handout/discovery", true},
		{"agent/swarm/engine.go", "handout/agent/plan", true},
		{"agent/plan/bitfield.go", "handout/manifest", true},
		{"agent/orders/book.go", "handout/manifest", true},
		{"agent/orders/disk.go", "handout/agent/atomicfile", true},
		{"sources/httporigin/read.go", "handout/sources", true},
		{"sources/httporigin/read_test.go", "handout/sources/sourcetest", true},
		{"agent/store/store_test.go", "handout/sources/sourcetest", true},
		{"manifest/open.go", "handout/manifest/internal/bencode", true},
		{"testlab/room/room.go", "handout/agent", true},
		{"testlab/bench/main.go", "github.com/anacrolix/torrent", true},
		{"agent/swarm/engine.go", "github.com/anacrolix/torrent/storage", true},
		{"manifest/open_test.go", "github.com/anacrolix/torrent/metainfo", true},
		{"agent/swarm/engine.go", "net/http", true},

		{"agent/atomicfile/atomicfile.go", "handout/agent/plan", false},
		{"agent/store/store.go", "handout/agent/atomicfile", false},
		{"manifest/open.go", "handout/sources", false},
		{"manifest/open_windows.go", "handout/agent/plan", false},
		{"manifest/open_test.go", "handout/agent/store", false},
		{"sources/sources.go", "handout/agent", false},
		{"sources/sources.go", "handout/discovery", false},
		{"discovery/discovery.go", "handout/discovery/networks", true},
		{"agent/site/site.go", "handout/discovery/networks", true},
		{"agent/site/site.go", "handout/discovery", false},
		{"discovery/networks/view.go", "handout/discovery", false},
		{"discovery/discovery.go", "handout/sources", false},
		{"discovery/discovery.go", "handout/agent/plan", false},
		{"agent/plan/run.go", "handout/sources", false},
		{"agent/plan/run.go", "handout/agent/swarm", false},
		{"agent/orders/wire.go", "handout/agent/site", false},
		{"agent/site/dialect.go", "handout/agent/orders", false},
		{"agent/store/store.go", "handout/agent/swarm", false},
		{"agent/swarm/engine.go", "handout/agent", false},
		{"agent/swarm/engine.go", "handout/sources", false},
		{"agent/agent.go", "handout/cmd/handout", false},
		{"agent/agent.go", "handout/testlab/cli", false},
		{"cmd/handout/script_test.go", "handout/testlab/cli", false},
		{"agent/store/store.go", "handout/sources/sourcetest", false},
		{"agent/agent.go", "handout/utils", false},
		{"utils/utils.go", "fmt", false},
		{"main.go", "fmt", false},
		{"agent/agent.go", "github.com/anacrolix/torrent", false},
		{"agent/store/store.go", "github.com/anacrolix/torrent/storage", false},
		{"manifest/open.go", "github.com/anacrolix/torrent", false},
		{"manifest/open.go", "github.com/anacrolix/torrent/metainfo/x", false},
	} {
		if err := arrow(c.file, c.imported); (err == nil) != c.ok {
			t.Errorf("%s imports %s: got %v, want allowed: %v", c.file, c.imported, err, c.ok)
		}
	}
}

// The plan itself must be a staircase: whoever follows the arrows never comes back to where he was.
func TestRoomsAreAStaircase(t *testing.T) {
	var climb func(room string, below []string)
	climb = func(room string, below []string) {
		if slices.Contains(below, room) {
			t.Fatalf("a ring: %s", strings.Join(append(below, room), " → "))
		}
		for _, next := range rooms[room] {
			if _, ok := rooms[next]; !ok {
				t.Fatalf("%s may import %s, which is no room", room, next)
			}
			climb(next, append(below, room))
		}
	}
	for room := range rooms {
		climb(room, nil)
	}
}
