package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"handout/testlab/lab"
	"handout/testlab/payload"
	"handout/testlab/room"
)

// rival is somebody else's tool, set up as its friends would: everything it can use in a LAN is there for it. Rivals are
// spared the small files of the tree, all but one.
type rival struct {
	name  string
	needs []string // that must run without an error for the tool to be here
	below string   // where below a host's folder its copy of the big file comes to lie
	done  string   // what appears there when it is whole; "": the process ends
	noLog bool     // it reads nothing from the web server

	prepare func(*job) error              // before the clock starts
	cmd     func(j *job, i int) *exec.Cmd // what host i runs
	begin   func(*job) error              // once all hosts run
}

// job is a room with a rival in it.
type job struct {
	*room.Room
	work    string // a folder for what it needs
	torrent string
	tracker net.Listener // nil: none
	sender  *lab.Process // at the origin; nil: none
}

var rivals = []rival{
	{
		name: "aria2", needs: []string{"aria2c", "--version"}, below: "tree", done: payload.Name + ".complete",
		prepare: func(j *job) error {
			return errors.Join(j.makeTorrent(), j.write("complete.sh", []byte("#!/bin/sh\n: > \"$3.complete\"\n")))
		},
		cmd: func(j *job, i int) *exec.Cmd {
			return exec.Command("aria2c", "--no-conf", "-q", "--bt-enable-lpd", "--enable-dht=false", "--enable-dht6=false",
				"--seed-ratio=0", "--file-allocation=none", "--bt-tracker-interval=5", "--bt-max-peers=0", "--split=8",
				"--max-connection-per-server=8", "--on-bt-download-complete="+filepath.Join(j.work, "complete.sh"), "-d", j.Dest(i), j.torrent)
		},
	},
	{
		name: "libtorrent", needs: []string{python, "-c", "import libtorrent"}, below: "tree", done: "../complete",
		prepare: func(j *job) error {
			return errors.Join(j.makeTorrent(), j.write("peer.py", libtorrentPeer))
		},
		cmd: func(j *job, i int) *exec.Cmd {
			return exec.Command(python, filepath.Join(j.work, "peer.py"), j.torrent, j.Dest(i), filepath.Join(j.Dest(i), "complete"))
		},
	},
	{
		name: "uftp", needs: []string{"which", "uftp", "uftpd"}, done: payload.Name, noLog: true,
		// A file is received under another name (-t).
		cmd: func(j *job, i int) *exec.Cmd {
			return exec.Command("uftpd", "-d", "-q", "-t", "-I", "eth0", "-D", j.Dest(i))
		},
		begin: sendByMulticast,
	},
	{
		name: "curl", needs: []string{"curl", "--version"},
		cmd: func(j *job, i int) *exec.Cmd {
			return exec.Command("curl", "-sfo", filepath.Join(j.Dest(i), payload.Name), j.Server.URL("tree/"+payload.Name))
		},
	},
}

// python is Debian's own, which knows Debian's libtorrent.
const python = "/usr/bin/python3"

//go:embed libtorrent.py
var libtorrentPeer []byte

// installed tells and reports whether the tool is there.
func (v rival) installed() bool {
	err := exec.Command(v.needs[0], v.needs[1:]...).Run()
	if err != nil {
		fmt.Printf("  without %s, which is not installed: make bench does that, as root\n", v.name)
	}
	return err == nil
}

// write puts a file that hosts run into the job's folder.
func (j *job) write(name string, content []byte) error {
	return os.WriteFile(filepath.Join(j.work, name), content, 0o755)
}

// makeTorrent describes the big file and a tiny one, with the origin as web seed and a tracker that runs there. (In a
// folder of one file libtorrent misreads the web seed's address.)
func (j *job) makeTorrent() (err error) {
	var announce string
	if j.tracker, announce, err = startTracker(j.Lab.Origin); err != nil {
		return err
	}
	j.torrent = filepath.Join(j.work, "tree.torrent")
	return torrentOf(j.Tree, []string{payload.Name, "small/01.dat"}, announce, j.Server.URL(""), j.torrent)
}

func (j *job) end() {
	if j.tracker != nil {
		j.tracker.Close()
	}
	if j.sender != nil {
		j.sender.Kill()
		j.sender.Wait()
	}
}

// abandoned reports that the sender has ended, long enough ago for the last host to have closed its file.
func (j *job) abandoned() bool {
	if j.sender == nil {
		return false
	}
	select {
	case <-j.sender.Done():
		return time.Since(j.sender.Started.Add(j.sender.Wall())) > 2*time.Second
	default:
		return false
	}
}

// lastWords prints how the sender ended.
func (j *job) lastWords() {
	if j.sender == nil {
		return
	}
	said, _ := os.ReadFile(filepath.Join(j.work, "uftp.log"))
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	fmt.Printf("  uftp, the origin said last: %s\n", strings.Join(lines[max(0, len(lines)-3):], " / "))
}

// sendByMulticast sends from the origin, at what leaves the link room for the protocol's own overhead and answers. The
// sender knows who is to receive, so it need not wait for more.
func sendByMulticast(j *job) error {
	var ids []string
	for _, h := range j.Lab.Hosts {
		ids = append(ids, fmt.Sprintf("0x%X", h.Addr.AsSlice()))
	}
	cmd := exec.Command("uftp", "-I", "eth0", "-R", fmt.Sprint(int64(linkRate)*93/100/1000), "-H", strings.Join(ids, ","),
		filepath.Join(j.Tree, payload.Name))
	fmt.Printf("  uftp, the origin: %s\n", strings.Join(cmd.Args[:5], " ")+" -H … $D/"+payload.Name)
	log, err := os.Create(filepath.Join(j.work, "uftp.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	j.sender, err = j.Lab.Origin.Start(cmd)
	return err
}

// wait notes when each host was done; zero for those that were not when ctx ended, or gave up.
func (j *job) wait(ctx context.Context, v rival, all []*lab.Process) []time.Time {
	done := make([]time.Time, len(all))
	over := make([]bool, len(all))
	for waiting := len(all); waiting > 0; {
		if j.abandoned() {
			j.lastWords()
			return done
		}
		select {
		case <-ctx.Done():
			j.lastWords()
			return done
		case <-time.After(20 * time.Millisecond):
		}
		for i, p := range all {
			if over[i] {
				continue
			}
			select {
			case <-p.Done():
				over[i] = true
				if v.done == "" && p.ExitCode() == 0 {
					done[i] = p.Started.Add(p.Wall())
				}
			default:
				if _, err := os.Stat(filepath.Join(j.Dest(i), v.below, v.done)); v.done != "" && err == nil {
					over[i], done[i] = true, time.Now()
				}
			}
			if over[i] {
				waiting--
			}
		}
	}
	return done
}
