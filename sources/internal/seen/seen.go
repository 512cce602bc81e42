// Package seen notices that a file was changed while it is read, by what a file system tells: size and time.
package seen

import (
	"fmt"
	"sync"
	"time"

	"handout/sources"
)

// Files remembers what files were when they were first looked at. The zero value remembers none; it is safe for
// concurrent use.
type Files struct {
	mu    sync.Mutex
	files map[string]state
}

type state struct {
	size    int64
	modTime time.Time
}

// maxFiles bounds how many files are remembered. Beyond it all are looked at anew: the hash decides in any case.
const maxFiles = 4096

// Check reports, as a sources.ErrChanged, that a file is not what it was. It begins anew then.
func (f *Files) Check(path string, size int64, modTime time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, known := f.files[path]
	switch {
	case !known:
		if len(f.files) >= maxFiles || f.files == nil {
			f.files = map[string]state{}
		}
		f.files[path] = state{size, modTime}
	case was.size != size:
		delete(f.files, path)
		return fmt.Errorf("%w: it had %d bytes and has %d", sources.ErrChanged, was.size, size)
	case !was.modTime.Equal(modTime):
		delete(f.files, path)
		return fmt.Errorf("%w: it was written %v", sources.ErrChanged, modTime)
	}
	return nil
}

// Forget begins anew with a file.
func (f *Files) Forget(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, path)
}
