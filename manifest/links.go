package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// checkLinks tells fault which symlinks lead out of the tree. checkTarget has read each word by word, as Windows does
// when it shortens ".." before it looks; here each is followed through every other symlink on its way, as a kernel
// does it: "d/.." is not where it seems to be if d leads elsewhere. spell maps names that a file system takes for the
// same to one.
func checkLinks(files []File, spell func(string) string, fault onFault) error {
	w := linkWalk{links: map[string]*link{}}
	for i := range files {
		f := &files[i]
		if f.Target == "" {
			continue
		}
		path := spell(f.Path)
		w.links[path] = &link{path: path, target: spell(f.Target)}
	}
	for i := range files {
		if files[i].Target == "" {
			continue
		}
		if _, err := w.follow(w.links[spell(files[i].Path)], 1); err != nil {
			err = fmt.Errorf("symlink %s to %s: %w", quote(files[i].Path), quote(files[i].Target), err)
			if err := fault(&Fault{BadSymlink, files[i].Path, err}); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTarget says why a symlink at path may not lead to target, or nil, whatever else is in the tree.
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
	at := []byte(parent(path))
	for element := range strings.SplitSeq(target, "/") {
		if at, ok = step(at, element); !ok {
			return "", false
		}
	}
	return string(at), true
}

// step goes from the folder at, in place, to element in it; ok is false if that leads out of the tree. In place,
// since a hostile target has five hundred elements and its manifest thousands of such targets.
func step(at []byte, element string) (_ []byte, ok bool) {
	switch {
	case element == "" || element == ".":
		return at, true
	case element == "..":
		return at[:max(bytes.LastIndexByte(at, '/'), 0)], len(at) > 0
	case len(at) > 0:
		at = append(at, '/')
	}
	return append(at, element...), true
}

type link struct {
	path, target string
	end          string // where it leads to in the end, once followed
	hops         int    // symlinks passed through on the way to end, this one counted; 0: not yet followed
	under        bool   // being followed right now
	err          error  // why it can't be followed
}

// linkWalk follows every symlink once, whatever leads through it, so that a thousand that lead through each other
// cost no more than their own length.
type linkWalk struct{ links map[string]*link }

// follow returns where l leads to in the end. depth is how many symlinks are being followed, l counted.
func (w linkWalk) follow(l *link, depth int) (string, error) {
	switch {
	case l.hops > 0:
		return l.end, nil
	case l.err != nil:
		return "", l.err
	case l.under:
		return "", errors.New("it goes round in a circle")
	case depth > maxLinkHops:
		return "", errTooManyHops
	}
	l.under = true
	l.end, l.hops, l.err = w.walk(l, depth)
	l.under = false
	if l.err == errTooManyHops { // of the one that began, not of each on its way
		l.err = nil
		return "", errTooManyHops
	}
	return l.end, l.err
}

func (w linkWalk) walk(l *link, depth int) (end string, hops int, err error) {
	at, ok := []byte(parent(l.path)), false
	hops = 1
	for element := range strings.SplitSeq(l.target, "/") {
		if at, ok = step(at, element); !ok {
			return "", 0, errors.New("it leads out of the tree through other symlinks")
		}
		if len(at) > MaxPath {
			return "", 0, fmt.Errorf("it leads further down than %d bytes", MaxPath)
		}
		if through := w.links[string(at)]; through != nil {
			end, err := w.follow(through, depth+1)
			if err != nil {
				return "", 0, err
			}
			at = append(at[:0], end...)
			if hops += through.hops; hops > maxLinkHops {
				return "", 0, errTooManyHops
			}
		}
	}
	return string(at), hops, nil
}

var errTooManyHops = fmt.Errorf("more than %d symlinks on its way", maxLinkHops)
