package agent

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"handout/agent/atomicfile"
	"handout/manifest"
)

// Placed is what an agent knows of one package that orders brought to this machine.
type Placed struct {
	Dest     string `json:"dest,omitempty"` // absolute; "": no order asks for it any more
	Serial   uint64 `json:"serial,omitempty"`
	InfoHash string `json:"info_hash,omitempty"` // of what stands at Dest; "": written before that was noted
	Left     []left `json:"left,omitempty"`
}

// left is a tree that an order brought here once and none asks for now. It stays where it is. As long as it is as the agent
// left it, a later order may have its place.
type left struct {
	Dest     string `json:"dest"` // absolute
	InfoHash string `json:"info_hash"`
}

const (
	// maxLeft is how many places are remembered of one package: the newest.
	maxLeft = 16
	// maxPlaced bounds the packages, withdrawn ones included. There are no more orders.
	maxPlaced = 1024
	maxPushed = 8 << 20 // bytes of the file
)

// pushedTrees is what orders brought here, by the package's name. It tells after a restart which trees the agent put there
// itself, and so may replace. Its methods are safe for concurrent use.
type pushedTrees struct {
	file atomicfile.State // no path: nothing outlives the process

	mu  sync.Mutex
	all map[string]Placed
}

func placesFile(stateDir string) atomicfile.State {
	if stateDir == "" {
		return atomicfile.State{}
	}
	return atomicfile.State{Path: filepath.Join(stateDir, "pushed.json"), Mode: 0o640, Most: maxPushed}
}

// openPushedTrees reads what is known. Of a damaged file nothing is lost that the orders which stand, and the records beside the
// trees, don't tell again.
func openPushedTrees(stateDir string, log *slog.Logger) *pushedTrees {
	p := &pushedTrees{file: placesFile(stateDir), all: map[string]Placed{}}
	if p.file.Path == "" {
		return p
	}
	if err := p.file.Load(p.read); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("what orders brought here was not written down as it should be: it is found out again", "error", err)
	}
	return p
}

func (p *pushedTrees) read(text []byte) error {
	var all map[string]Placed
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	if all == nil {
		return errors.New("it is empty")
	}
	for name, at := range all {
		if at.Dest == "" && len(at.Left) == 0 || at.Dest != "" && !filepath.IsAbs(at.Dest) {
			return fmt.Errorf("%.80q has no place", name)
		}
	}
	p.all = all
	return nil
}

// PushedHere are the packages that orders brought to the machine with this state folder, by their folders. It changes
// nothing, so it may be called while an agent runs.
func PushedHere(stateDir string) (map[string]Placed, error) {
	p := &pushedTrees{file: placesFile(stateDir)}
	var err error
	if p.file.Path != "" {
		if err = p.file.Look(p.read); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	here := map[string]Placed{}
	for _, at := range p.all {
		if at.Dest != "" {
			here[at.Dest] = at
		}
	}
	return here, err
}

// of is what is known of a package; the zero value: nothing.
func (p *pushedTrees) of(name string) Placed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[name]
}

// names are the packages that orders brought here and that are kept up.
func (p *pushedTrees) names() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, at := range p.all {
		if at.Dest != "" {
			all = append(all, name)
		}
	}
	return all
}

// holder is the package that an order which stands brought to dest; "": none.
func (p *pushedTrees) holder(dest string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, at := range p.all {
		if at.Dest == dest {
			return name
		}
	}
	return ""
}

// leftAt are the packages, by their info-hashes, that orders brought to dest once: of whatever name.
func (p *pushedTrees) leftAt(dest string) (all []manifest.InfoHash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.all {
		for _, l := range at.Left {
			if l.Dest == dest && len(l.InfoHash) == 2*len(manifest.InfoHash{}) {
				var h manifest.InfoHash
				if n, err := hex.Decode(h[:], []byte(l.InfoHash)); err == nil && n == len(h) {
					all = append(all, h)
				}
			}
		}
	}
	return all
}

// arrived notes that a package stands at dest now, as the order with this serial says. Where it stood before it is left.
func (p *pushedTrees) arrived(name, dest string, serial uint64, hash manifest.InfoHash) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.all[name]
	at := was.moved(dest)
	at.Serial, at.InfoHash = serial, hash.String()
	if at.equal(was) {
		return nil
	}
	next := maps.Clone(p.all)
	next[name] = at
	if err := p.write(next); err != nil {
		return err // and nothing is noted, so that the next try comes here again
	}
	p.all = next
	return nil
}

// ended notes that no order asks for a package any more, and returns where it stands.
func (p *pushedTrees) ended(name string) (dest string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.all[name]
	if was.Dest == "" {
		return "", nil
	}
	if p.all[name] = was.moved(""); len(p.all[name].Left) == 0 {
		delete(p.all, name)
	}
	return was.Dest, p.write(p.all) // after an error the next start ends it once more
}

func (p *pushedTrees) write(all map[string]Placed) error {
	if p.file.Path == "" {
		return nil
	}
	for name, at := range all {
		if len(all) > maxPlaced && at.Dest == "" {
			delete(all, name)
		}
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = p.file.Write(append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("note what orders brought here: %w", err)
	}
	return nil
}

// moved is p with another place, the one so far being left; "": with none.
func (p Placed) moved(dest string) Placed {
	next := Placed{Dest: dest, Left: slices.Clone(p.Left)}
	if p.Dest != "" && p.Dest != dest && p.InfoHash != "" {
		next.Left = append(next.Left, left{p.Dest, p.InfoHash})
	}
	// Of a place that holds it now, and of one place twice, nothing older is kept.
	seen := map[string]bool{dest: true}
	for i := len(next.Left) - 1; i >= 0; i-- {
		if l := next.Left[i]; seen[l.Dest] {
			next.Left = slices.Delete(next.Left, i, i+1)
		} else {
			seen[l.Dest] = true
		}
	}
	next.Left = next.Left[max(0, len(next.Left)-maxLeft):]
	return next
}

func (p Placed) equal(o Placed) bool {
	return p.Dest == o.Dest && p.Serial == o.Serial && p.InfoHash == o.InfoHash && slices.Equal(p.Left, o.Left)
}
