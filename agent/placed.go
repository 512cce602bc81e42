package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// placedFile is what orders brought here, by the package's name. It tells after a restart which trees the agent put
// there itself, and so may replace.
type placedFile struct {
	path string // "": nowhere
	all  map[string]Placed
}

// Placed is a package that an order brought to this machine.
type Placed struct {
	Dest   string `json:"dest"` // absolute
	Serial uint64 `json:"serial"`
}

func placedName(stateDir string) string {
	if stateDir == "" {
		return ""
	}
	return filepath.Join(stateDir, "pushed.json")
}

func readPlaced(stateDir string) (placedFile, error) {
	p := placedFile{path: placedName(stateDir), all: map[string]Placed{}}
	if p.path == "" {
		return p, nil
	}
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p.all)
	}
	if err == nil && p.all == nil {
		p.all = map[string]Placed{}
	}
	if err != nil {
		err = fmt.Errorf("read what orders brought here (%s): %w", p.path, err)
	}
	return p, err
}

// PushedHere are the packages that orders brought to the machine with this state folder, by their folders.
func PushedHere(stateDir string) (map[string]Placed, error) {
	p, err := readPlaced(stateDir)
	here := map[string]Placed{}
	for _, at := range p.all {
		here[at.Dest] = at
	}
	return here, err
}

// note writes down where the package of that name stands now; nil: nowhere.
func (p *placedFile) note(name string, at *Placed) error {
	if at == nil {
		if _, ok := p.all[name]; !ok {
			return nil
		}
		delete(p.all, name)
	} else {
		if p.all[name] == *at {
			return nil
		}
		p.all[name] = *at
	}
	if p.path == "" {
		return nil
	}
	text, err := json.MarshalIndent(p.all, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path+".new", append(text, '\n'), 0o640); err != nil {
		return err
	}
	return os.Rename(p.path+".new", p.path)
}

// isPlaced reports whether an order that stands brought what lies there.
func (d *ordersDesk) isPlaced(dest string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.placed.all {
		if at.Dest == dest {
			return true
		}
	}
	return false
}
