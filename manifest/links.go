package manifest

import (
	"fmt"
	"strings"
)

// checkLinks says which symlink leads out of the tree, or nil. Each must stay inside in two readings: word by word,
// as Windows shortens ".." before it looks, and followed through every other symlink on its way, as a kernel does
// ("d/.." is not where it seems to be if d leads elsewhere). spell maps names a file system takes for the same to one.
func checkLinks(files []File, spell func(string) string) error {
	w := linkWalk{links: map[string]*link{}}
	for i := range files {
		f := &files[i]
		if f.Target == "" {
			continue
		}
		if err := checkTarget(f.Path, f.Target); err != nil {
			return err
		}
		path := spell(f.Path)
		w.links[path] = &link{path: path, target: spell(f.Target)}
	}
	for i := range files {
		if files[i].Target == "" {
			continue
		}
		if _, err := w.follow(w.links[spell(files[i].Path)], 1); err != nil {
			return fmt.Errorf("symlink %s to %s: %w", quote(files[i].Path), quote(files[i].Target), err)
		}
	}
	return nil
}

// checkTarget looks at one symlink alone.
func checkTarget(path, target string) error {
	reason := ""
	switch {
	case len(target) > MaxTarget:
		reason = fmt.Sprintf("the target has %d bytes, over the limit of %d", len(target), MaxTarget)
	case target == "":
		reason = "the target is empty"
	case target[0] == '/':
		reason = "the target is absolute"
	default:
		reason = badText(target)
	}
	if reason == "" {
		if _, ok := lexicalTarget(path, target); !ok {
			reason = "it leads out of the tree"
		}
	}
	if reason != "" {
		return fmt.Errorf("symlink %s to %s: %s", quote(path), quote(target), reason)
	}
	return nil
}

// lexicalTarget is where target leads from the symlink at path, relative to the tree's root ("" is the root itself),
// as long as no other symlink is on the way. It is what BEP 47 calls the symlink path. ok is false if it leads out.
func lexicalTarget(path, target string) (resolved string, ok bool) {
	at := parent(path)
	for element := range strings.SplitSeq(target, "/") {
		if at, ok = step(at, element); !ok {
			return "", false
		}
	}
	return at, true
}

// step goes from a folder of the tree to element in it; ok is false if that leads out of the tree.
func step(at, element string) (_ string, ok bool) {
	switch {
	case element == "" || element == ".":
		return at, true
	case element == "..":
		return parent(at), at != ""
	case at == "":
		return element, true
	}
	return at + "/" + element, true
}

type link struct {
	path, target string
	end          string // where it leads to in the end, once followed
	hops         int    // symlinks passed through on the way to end, this one counted; 0: not yet followed
	under        bool   // being followed right now
}

// linkWalk follows every symlink once, whatever leads through it, so that a thousand that lead through each other
// cost no more than their own length.
type linkWalk struct{ links map[string]*link }

// follow returns where l leads to in the end. depth is how many symlinks are being followed, l counted.
func (w linkWalk) follow(l *link, depth int) (end string, err error) {
	switch {
	case l.hops > 0:
		return l.end, nil
	case l.under:
		return "", fmt.Errorf("it goes round in a circle")
	case depth > maxLinkHops:
		return "", errTooManyHops
	}
	l.under = true
	at, hops, ok := parent(l.path), 1, false
	for element := range strings.SplitSeq(l.target, "/") {
		if at, ok = step(at, element); !ok {
			return "", fmt.Errorf("it leads out of the tree through other symlinks")
		}
		if len(at) > MaxPath {
			return "", fmt.Errorf("it leads further down than %d bytes", MaxPath)
		}
		if through := w.links[at]; through != nil {
			if at, err = w.follow(through, depth+1); err != nil {
				return "", err
			}
			if hops += through.hops; hops > maxLinkHops {
				return "", errTooManyHops
			}
		}
	}
	l.end, l.hops, l.under = at, hops, false
	return at, nil
}

var errTooManyHops = fmt.Errorf("more than %d symlinks on its way", maxLinkHops)
