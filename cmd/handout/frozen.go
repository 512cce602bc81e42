package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"handout/agent/atomicfile"
)

// markName is a file in both state_dir and cache_dir: "ID STARTS". On machines that are put back at each boot (Deep Freeze and
// the like) one of the two, or both, may come back empty or as they were some time ago; the marks then tell them apart.
const markName = ".handout-mark"

// mark is what such a file says; the zero value: there is none.
type mark struct {
	id     string
	starts uint64 // of the agent, with these folders
}

// tellResets says in one line which of the two folders was put back since the last start, and what follows. Then both know
// of this start.
func tellResets(stateDir, cacheDir string, log *slog.Logger) {
	state, cache := readMark(stateDir), readMark(cacheDir)
	if what := judgeMarks(state, cache); what != "" {
		log.Warn(what, "state_dir", stateDir, "cache_dir", cacheDir)
	}
	next := mark{state.id, max(state.starts, cache.starts) + 1}
	if next.id == "" {
		next.id = cache.id
	}
	if next.id == "" {
		var b [8]byte
		rand.Read(b[:]) // does not fail
		next.id = hex.EncodeToString(b[:])
	}
	for _, dir := range []string{stateDir, cacheDir} {
		text := fmt.Sprintf("%s %d\n", next.id, next.starts)
		path := filepath.Join(dir, markName)
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			atomicfile.SetAside(path) // an error: the next says it
		}
		if err := atomicfile.Write(path, []byte(text), 0o644); err != nil {
			log.Warn("a reset of this folder will not be noticed", "error", err)
		}
	}
}

func readMark(dir string) (m mark) {
	text, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return mark{id: "unreadable"}
	}
	if _, err := fmt.Sscanf(string(text), "%32s %d", &m.id, &m.starts); err != nil {
		return mark{}
	}
	return m
}

const (
	cacheReset = "the cache was reset since the last start: packages are fetched again; exclude cache_dir from freezing"
	stateReset = "the state was reset since the last start: what was known of versions and neighbours is lost; exclude state_dir from freezing"
	otherCache = "the cache belongs to another machine's state, or was copied: its packages are checked by their signatures and used"
)

// judgeMarks says what the marks of the two folders tell; empty: nothing was reset.
func judgeMarks(state, cache mark) string {
	switch {
	case state == cache:
		return "" // also: this is the first start, or both were reset
	case cache == mark{}:
		return cacheReset
	case state == mark{}:
		return stateReset
	case state.id != cache.id:
		return otherCache
	case cache.starts < state.starts:
		return cacheReset
	default:
		return stateReset
	}
}
