package payload

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Scratch is where to put so many bytes for a while: memory if that has room, since many machines on one disk would
// measure the disk, else the temporary folder.
func Scratch(bytes int64) string {
	const memory = "/dev/shm"
	var s unix.Statfs_t
	if unix.Statfs(memory, &s) == nil && int64(s.Bavail)*s.Bsize > bytes && freeMemory() > 2*bytes && unix.Access(memory, unix.W_OK) == nil {
		return memory
	}
	return os.TempDir()
}

// freeMemory is what could be used without swapping, in bytes.
func freeMemory() (bytes int64) {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &bytes); err == nil {
			return bytes << 10
		}
	}
	return 0
}
