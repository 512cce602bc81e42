package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// arrivalPrefix begins the name of a tree in a landing that is copied there, and is not yet all there.
	arrivalPrefix = "arriving-"
	// streams are the files that are copied, or read back, at a time. For a small file almost all the time goes into
	// waiting for answers.
	streams = 8
	// largeFile is the size in bytes from which files are copied one at a time: the disk at the other end has one head.
	largeFile = 8 << 20
	// copyBuffer is how many bytes are written at a time.
	copyBuffer = 1 << 20
)

// publishAcross brings a complete tree that grew elsewhere to its destination: copied in order, read back and compared,
// then renamed into place. What has arrived when it fails is found by the next try.
func (t *Tree) publishAcross(ctx context.Context) error {
	base := t.base
	err := t.enterLanding(ctx, base)
	if err == nil {
		err = t.cross(ctx, base)
		switch err2 := t.leaveLanding(); {
		case err2 != nil && t.Published():
			t.o.Log.Warn("the landing could not be cleared", "tree", t.dest, "err", err2)
		case err == nil:
			err = err2
		}
	}
	return t.away(ctx, err)
}

// cross is publishAcross with the landing in our hands.
func (t *Tree) cross(ctx context.Context, base string) error {
	if there, err := occupied(t.parent, base); err != nil {
		return err
	} else if there && !t.o.Replace {
		// Perhaps another machine has published the same meanwhile.
		switch at, err := t.standing(ctx, base); {
		case err != nil:
			return err
		case at != nil:
			return t.crossed(at)
		}
	}
	to, err := t.openArrival()
	if err != nil {
		return explain(err, "open", t.land.path(t.arrival()))
	}
	stamps, err := t.carry(ctx, to)
	to.close()
	if err != nil {
		return err
	}
	if !t.owner.holds() {
		return fmt.Errorf("%w: another machine has taken over", ErrInUse)
	}
	from := t.arrival()
	if t.m.Single {
		from = path.Join(from, t.m.Files[0].Path)
	}
	if err := t.land.moveIn(ctx, from, t.o.Replace); err != nil {
		return err
	}
	if err := syncFolder(t.parent); err != nil {
		return explain(err, "flush the folder of", t.dest)
	}
	if err := t.land.dropOld(); err != nil {
		t.o.Log.Warn("the replaced tree could not be removed", "tree", t.dest, "err", err)
	}
	at, err := openIn(t.parent, t.base, t.goal, t.dest, t.o.MaxOpen)
	if err != nil {
		return wrap(err, "open after publication", t.dest)
	}
	t.topUp(at)
	at.stamps = stamps
	return t.crossed(at)
}

// crossed lets the tree be published. With Options.Keep it is read at its destination from now on, and the copy here
// goes; else it is read here, where that is fast, until Close.
func (t *Tree) crossed(at *place) error {
	if !t.o.Keep {
		at.close()
		t.mu.Lock()
		t.published = true
		t.mu.Unlock()
		return nil
	}
	t.moving.Lock()
	t.at.close()
	t.show(at)
	t.moving.Unlock()
	return t.keep()
}

// away says of an error from the other side what it means: that side can't be written to, whatever its file system calls
// it. What was fetched is here.
func (t *Tree) away(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || t.Published() || errors.Is(err, errHere) {
		return err
	}
	err = explain(err, "publish", t.dest)
	known := func(kind error) bool { return errors.Is(err, kind) }
	if !slices.ContainsFunc([]error{ErrExists, ErrInUse, ErrNotWritable, ErrNoSpace}, known) {
		err = fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	return fmt.Errorf("%w (the package is kept in %s until it stands there)", err, t.stage.path("."))
}

// errHere marks an error of the tree as it grew, on this machine.
var errHere = errors.New("the copy on this machine")

// arrival names the tree in the landing: for each machine and version another, so that two machines never write to one file.
func (t *Tree) arrival() string {
	return fmt.Sprintf("%s%s-%x", arrivalPrefix, t.token, t.m.InfoHash[:4])
}

func (t *Tree) openArrival() (*place, error) {
	if err := t.land.root.Mkdir(t.arrival(), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := openWithin(t.land.root, t.arrival())
	if err != nil {
		return nil, err
	}
	to := newPlace(t.goal, t.dest, root, "", t.o.MaxOpen)
	to.across = true
	return to, nil
}

// carry copies what is missing, finishes the tree and reads it back, until all is right; what was not is copied once more.
// It returns the modification times.
//
// Read back means: from files opened anew, after they were flushed and this machine was told to forget what it had of
// them. That proves what the other side has in its memory or on its disk: with sshfs (without kernel_cache) and NFS every
// byte comes over the network again. It does not prove that the other side's disk has it.
func (t *Tree) carry(ctx context.Context, to *place) ([]time.Time, error) {
	const tries = 3 // what an earlier run left may be wrong, and then the first copy
	for try := 1; ; try++ {
		v, err := to.look(ctx)
		if err == nil {
			err = to.clear(v)
		}
		if err != nil {
			return nil, err
		}
		if err := t.copyMissing(ctx, to, v); err != nil {
			return nil, err
		}
		if _, err := to.finish(ctx); err != nil {
			return nil, err
		}
		if err := to.syncArrived(); err != nil {
			return nil, explain(err, "flush", t.dest)
		}
		if v, err = to.look(ctx); err != nil {
			return nil, err
		}
		to.files.closeIdle()
		if err := to.hash(ctx, v, false, t.o.Progress); err != nil {
			return nil, err
		}
		if v.Matches() {
			return times(v.files), nil
		}
		wrong, err := to.removeWrong(v)
		if err != nil {
			return nil, err
		}
		t.o.Log.Warn("not all that was copied is right at the destination", "tree", t.dest, "wrong", strings.Join(wrong, ", "))
		if try == tries {
			return nil, fmt.Errorf("%w: other bytes came back than were written: %s", ErrNotWritable, strings.Join(wrong, ", "))
		}
	}
}

// removeWrong removes the files that are not as they should be, and names some.
func (p *place) removeWrong(v *view) (wrong []string, err error) {
	const enough = 5
	p.files.closeIdle() // a file that is open would not go, see lingers
	folders := map[string]bool{}
	defer func() {
		for folder := range folders {
			untilNothingLingers(p.root, folder)
		}
	}()
	for i, verdict := range v.Files {
		if verdict == OK {
			continue
		}
		if len(wrong) < enough {
			wrong = append(wrong, fmt.Sprintf("%s (%s)", p.m.Files[i].Path, verdict))
		}
		folders[path.Dir(p.m.Files[i].Path)] = true
		if err := removeAll(p.root, p.m.Files[i].Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return wrong, explain(err, "remove", p.say(i))
		}
	}
	return wrong, nil
}

// copyMissing copies the files that are not there in their full size.
func (t *Tree) copyMissing(ctx context.Context, to *place, v *view) error {
	var done atomic.Int64
	move := func(n int64) { t.o.Moving(done.Add(n), t.goal.bytes) }
	var large sync.Mutex
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(streams)
	move(0)
	for _, i := range to.members {
		f := &t.m.Files[i]
		switch {
		case f.Target != "" || f.Length == 0:
			continue // finish makes these
		case v.present(i):
			move(f.Length)
			continue
		}
		work.Go(func() error {
			if f.Length >= largeFile {
				large.Lock()
				defer large.Unlock()
			}
			return t.copyFile(ctx, to, i, move)
		})
	}
	return work.Wait()
}

// copyFile copies one file from its beginning to its end, or from where an earlier run left off, and flushes it.
func (t *Tree) copyFile(ctx context.Context, to *place, file int, moved func(int64)) error {
	f := &t.m.Files[file]
	dst, off, err := to.openArriving(file)
	if err != nil {
		return explain(err, "write", to.say(file))
	}
	moved(off)
	buf := make([]byte, min(copyBuffer, f.Length))
	for off < f.Length && err == nil {
		if ctx.Err() != nil {
			dst.Close()
			return context.Cause(ctx)
		}
		n := min(int64(len(buf)), f.Length-off)
		if err := t.at.read(t.m.Files[file].Offset+off, buf[:n]); err != nil {
			dst.Close()
			return fmt.Errorf("%w: %w", errHere, err)
		}
		if _, err = dst.WriteAt(buf[:n], off); err == nil {
			moved(n)
			off += n
		}
	}
	if err == nil {
		err = dst.Sync()
	}
	if err == nil && modeAtOnce && !to.modeless {
		err = dst.Chmod(f.Mode.Perm())
	}
	if err == nil {
		err = setFileTime(dst, f.ModTime)
	}
	// Many file systems say only now what went wrong with what was written.
	if err2 := dst.Close(); err == nil {
		err = err2
	}
	return explain(err, "write", to.say(file))
}

// openArriving opens a file to be copied to, and tells how much of it is there already. What has its full size but the
// wrong content was removed before.
func (p *place) openArriving(file int) (*os.File, int64, error) {
	p.files.reserve()
	defer p.files.unreserve()
	d, err := p.makeFolder(p.home[file])
	if err != nil {
		return nil, 0, err
	}
	defer p.dirs.release(d)
	f, err := d.v.OpenFile(p.base(file), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, err
	}
	there, err := f.Seek(0, io.SeekEnd)
	if there > p.m.Files[file].Length {
		there, err = 0, f.Truncate(0)
	}
	if err != nil {
		f.Close()
	}
	return f, there, err
}

// enterLanding makes the landing, and makes it ours: it waits while another machine copies to it. A swap that was
// interrupted is ended.
func (t *Tree) enterLanding(ctx context.Context, base string) error {
	const tries = 10 // another machine that leaves the landing removes it
	for try := 1; ; try++ {
		err := t.tryLanding(ctx, base)
		if !errors.Is(err, fs.ErrNotExist) || try == tries {
			return err
		}
	}
}

func (t *Tree) tryLanding(ctx context.Context, base string) error {
	l := newLanding(t.parent, base, nil, t.o.Log)
	err := t.parent.Mkdir(stagingName(base), 0o700)
	there := errors.Is(err, fs.ErrExist)
	if err != nil && !there {
		return explain(err, "make", l.path("."))
	}
	if l.root, err = openWithin(t.parent, stagingName(base)); err != nil {
		return explain(err, "open", l.path("."))
	}
	if _, shared := foreignVolume(t.parent.Name()); there && !shared { // machines share a landing, each by a user of its own
		if err := closed(t.parent, l.root, stagingName(base)); err != nil {
			l.root.Close()
			return explain(err, "open", l.path("."))
		}
	}
	owner, err := l.claim(ctx, t.token, t.o.beat, t.o.Log)
	if err != nil {
		l.root.Close()
		return err
	}
	t.land, t.owner = l, owner
	err = l.settle(ctx)
	if err == nil {
		err = l.clearArrivals(t.arrival())
	}
	if err != nil {
		err = errors.Join(err, t.leaveLanding())
	}
	return err
}

// clearArrivals removes what other machines or versions have left half copied.
func (l *landing) clearArrivals(ours string) error {
	f, err := l.root.Open(".")
	if err != nil {
		return explain(err, "open", l.path("."))
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	for _, name := range names {
		if err == nil && strings.HasPrefix(name, arrivalPrefix) && name != ours {
			err = removeAll(l.root, name)
		}
	}
	return explain(err, "clear", l.path("."))
}

// leaveLanding gives the landing up, and removes it where nothing is left in it that somebody may go on with.
func (t *Tree) leaveLanding() error {
	l := t.land
	if t.Published() {
		if err := l.clearArrivals(""); err != nil {
			t.o.Log.Warn("the landing could not be cleared", "tree", t.dest, "err", err)
		}
	}
	err := t.owner.release()
	l.root.Close()
	t.land, t.owner = nil, nil
	removeFolder(l.parent, stagingName(l.base)) // not if there is something in it
	return err
}
