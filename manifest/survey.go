package manifest

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// Survey is what Build noticed of a tree besides what goes into the manifest.
type Survey struct {
	Excluded  int       // files and folders that Exclude left out; what lies in such a folder is not counted
	Unmatched []string  // patterns of Exclude that matched nothing
	Leftovers []string  // patterns for what is there and seldom meant to be: lost+found, **/Thumbs.db
	Dropped   []Dropped // as in the manifest, with examples
}

// Dropped is what files, folders or the tree's root have and no package carries.
type Dropped struct {
	Trait   Trait
	Count   int    // of files and folders
	Example string // one of them, with what it has there if that needs saying; empty in an opened manifest; not safe to print
}

// Trait names what a package does not carry. The manifest has it in these words.
type Trait string

const (
	TraitACL          Trait = "acl"          // an access control list, of POSIX or of NT
	TraitAttributes   Trait = "attributes"   // hidden, system, compressed, encrypted (Windows)
	TraitCapabilities Trait = "capabilities" // of a file that is run (Linux)
	TraitHardLink     Trait = "hard link"    // one more name of a file: it arrives as a copy
	TraitSetgid       Trait = "setgid"
	TraitSetuid       Trait = "setuid"
	TraitSticky       Trait = "sticky"
	TraitStreams      Trait = "streams" // alternate data streams (NTFS)
	TraitXattrs       Trait = "xattrs"  // extended attributes
)

// knownTraits ascend. A manifest may name others, which are of a later handout.
var knownTraits = []Trait{TraitACL, TraitAttributes, TraitCapabilities, TraitHardLink, TraitSetgid, TraitSetuid, TraitSticky,
	TraitStreams, TraitXattrs}

// leftovers are what file systems, desktops and programs put beside the files that people mean. Patterns of path.Match
// for a name, in lower case.
var leftovers = []string{
	// of file systems and of servers with snapshots
	"lost+found", ".snapshot", ".snapshots", "~snapshot", ".zfs", "@recently-snapshot", "@eadir", "@recycle", "#recycle", "#snapshot",
	".nfs????????????????", ".fuse_hidden*", "aquota.user", "aquota.group",
	// of Windows
	"system volume information", "$recycle.bin", "recycler", "thumbs.db", "ehthumbs.db", "desktop.ini", "pagefile.sys", "hiberfil.sys", "swapfile.sys",
	"~$*.doc?", "~$*.xls?", "~$*.ppt?",
	// of macOS
	".ds_store", "._*", ".appledouble", ".spotlight-v100", ".fseventsd", ".trashes", ".temporaryitems", ".documentrevisions-v100",
	// of desktops, editors and programs
	".trash-*", ".directory", ".*.swp", ".~lock.*#", ".git", ".svn", ".hg", ".bzr", "node_modules", "__pycache__",
	// of handout
	".*.handout",
}

// leftoverRule is the pattern of leftovers that name matches; empty: none.
func leftoverRule(name string) string {
	name = strings.ToLower(name)
	for _, rule := range leftovers {
		if ok, _ := path.Match(rule, name); ok {
			return rule
		}
	}
	return ""
}

// notes collects a Survey. It may be used concurrently.
type notes struct {
	mu        sync.Mutex
	dropped   map[Trait]*Dropped
	leftovers map[string]string // for a rule of leftovers the pattern to exclude: one path, or everywhere
	links     map[fileID]bool   // files of several names that were seen
}

// fileID tells files apart that have several names.
type fileID struct{ volume, file uint64 }

// drop notes that path has a trait; detail says more of it where a trait stands for several things.
func (n *notes) drop(trait Trait, path, detail string) {
	if detail != "" {
		path += " (" + detail + ")"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dropped == nil {
		n.dropped = map[Trait]*Dropped{}
	}
	d := n.dropped[trait]
	if d == nil {
		d = &Dropped{Trait: trait, Example: path}
		n.dropped[trait] = d
	}
	d.Count++
	d.Example = min(d.Example, path) // whichever goroutine is first
}

// alias notes that path is a name of a file that has several.
func (n *notes) alias(path string, id fileID) {
	n.mu.Lock()
	again := n.links[id]
	if n.links == nil {
		n.links = map[fileID]bool{}
	}
	n.links[id] = true
	n.mu.Unlock()
	if again {
		n.drop(TraitHardLink, path, "")
	}
}

// see notes what is known of an entry of the tree by its name and its mode.
func (n *notes) see(at string, info fs.FileInfo) {
	for _, t := range []struct {
		bit   fs.FileMode
		trait Trait
	}{{fs.ModeSetuid, TraitSetuid}, {fs.ModeSetgid, TraitSetgid}, {fs.ModeSticky, TraitSticky}} {
		if info.Mode()&t.bit != 0 {
			n.drop(t.trait, at, "")
		}
	}
	name := path.Base(at)
	rule := leftoverRule(name)
	if rule == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leftovers == nil {
		n.leftovers = map[string]string{}
	}
	switch _, again := n.leftovers[rule]; {
	case !again:
		n.leftovers[rule] = ExcludePattern(at)
	case strings.ContainsAny(rule, "*?"):
		n.leftovers[rule] = "**/" + rule
	default:
		n.leftovers[rule] = "**/" + ExcludePattern(name)
	}
}

func (n *notes) allDropped() (all []Dropped) {
	for _, d := range n.dropped {
		all = append(all, *d)
	}
	slices.SortFunc(all, func(a, b Dropped) int { return cmp.Compare(a.Trait, b.Trait) })
	return all
}

// survey is what the walk noticed, once it is over.
func (w *walker) survey(m *Manifest) Survey {
	return Survey{
		Excluded:  int(w.exclude.count.Load()),
		Unmatched: w.exclude.unmatched(),
		Leftovers: slices.Sorted(maps.Values(w.notes.leftovers)),
		Dropped:   m.Dropped,
	}
}
