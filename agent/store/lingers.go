package store

import (
	"os"
	"slices"
	"strings"
	"time"
)

// lingers reports whether this is the name under which a network mount goes on to hold a file that was removed while it was
// open (FUSE, NFS). It goes when the file is closed, which the file system learns a moment after close(2) has returned.
func lingers(name string) bool {
	return strings.HasPrefix(name, ".fuse_hidden") || strings.HasPrefix(name, ".nfs")
}

// lingerTries are how often to look whether what lingers is gone, at first after lingerFor, then after twice that, and so
// on: some two seconds.
const (
	lingerTries = 9
	lingerFor   = 4 * time.Millisecond
)

// untilNothingLingers waits until nothing that was removed lingers in a folder, for a while at most.
func untilNothingLingers(root *os.Root, folder string) {
	for try := range lingerTries {
		if names, err := namesIn(root, folder); err != nil || !slices.ContainsFunc(names, lingers) {
			return
		}
		time.Sleep(lingerFor << try)
	}
}

// removeFolder removes a folder in which there is nothing but what lingers.
func removeFolder(root *os.Root, name string) error {
	for try := 0; ; try++ {
		err := root.Remove(name)
		names, err2 := namesIn(root, name)
		something := func(name string) bool { return !lingers(name) }
		if err == nil || err2 != nil || slices.ContainsFunc(names, something) || try == lingerTries {
			return err
		}
		time.Sleep(lingerFor << try)
	}
}

func namesIn(root *os.Root, folder string) ([]string, error) {
	f, err := root.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
