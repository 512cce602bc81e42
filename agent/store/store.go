// Package store keeps the pieces and trees of packages on disk. It takes pieces in any order, checks them by the
// manifest's SHA-256, remembers them over restarts, and lets the finished tree appear at its destination by rename. It
// knows no network and decides nothing about where a piece comes from.
//
// On disk. Beside the destination DIR stands the staging folder .DIR.handout with tree/ (the files as they grow),
// tree.torrent (their manifest), record.db (bbolt: which pieces are here; its lock is the lock of the whole), verified (see
// below) and, for the time of a swap, swap and old/. There is one staging folder for a destination: if it belongs to another
// version, its tree is discarded, since only one version can stand there in the end. When DIR has appeared the staging
// folder goes; with Options.Keep it stays, to hold the manifest (package.torrent) and the modification time of every file,
// by which the next Open knows the tree without hashing it. That stays known while another version grows. What runs that
// died have left is seen by List and removed by Clean; Evict removes a tree that was kept.
//
// Elsewhere. Random writes over a network mount are slow, so a tree for one grows on a local disk: in Options.Stage, in a
// folder that StageFor finds again after a crash. Beside such a destination .DIR.handout is just the landing: it is there
// while the whole tree is copied into it, file after file, flushed, read back and compared, and renamed from there. Space
// is needed twice until then. What was copied when it is interrupted stays and is continued. Two machines with the same
// destination copy one after the other (the file "owner" says whose turn it is) and never to the same files. With
// Options.Keep the copy here goes as soon as DIR has appeared; without, neighbours are served from it until Close.
//
// What is here already. Before anybody is asked, Open takes what it can from the tree it will replace and from the folders
// in Options.Reuse: first from the file of the same path, then from any file of the right size and SHA-256 (what the kept
// record vouches for is not hashed to be found), last from the file of the same path seen from its end, where bytes were
// put in or taken out. All that is only a guess where bytes may be: a piece put together from files counts like any other
// after its SHA-256 was seen to be right, so what lies in those folders, or changes while it is read, can't do harm.
// Whole files are cloned where the file system has clones, which later writes don't pass through. Else files of the old
// tree at this very destination are linked, if this user made them, they have no other name, and mode, time and the whole
// content are already those of the new tree: to these nothing is ever written (a block for a piece they reach into leaves
// them out), they are not read out or published if size or time change meanwhile, and the next Open begins by removing
// them. When the new tree takes the old one's place theirs is the only name again. All else is copied.
//
// A part. With Options.Only some files of the package are published and nothing else: a whole tree is not that part, nor
// the part the whole. The tree grows as ever; a piece on the border, which has bytes of other files too, is fetched with
// them, and what is not of the part goes at publication. So such a piece counts for the part but is never read out: nobody
// is promised what goes away. What an interrupted part has left serves the whole, and the other way round. The bytes of a
// published part that lie in border pieces are checked by the SHA-256 of their files. No record is kept of a part.
//
// What is promised:
//   - A piece is complete only after its SHA-256 was seen to be right, and nothing is written to it from then on.
//     Only complete pieces can be read out, only a tree of complete pieces is published, and a published file that has
//     changed since (size or modification time) is no longer read out.
//   - DIR is absent, the whole old tree or the whole new one. With Options.Replace there is an instant between the two
//     renames of the swap when DIR is absent: after a crash just there the next Open of that destination finishes the swap.
//   - After a killed process nothing verified is lost: a piece is noted in the file "verified" before Put or Verify say
//     that it is complete, and noted pieces are hashed again by the next Open.
//   - After a power cut the pieces verified in the last seconds (Options.FlushEvery, Options.FlushBytes) may have to be
//     fetched again, never more: record.db is written only after the data was flushed, and what is merely noted in
//     "verified" is hashed again. All is flushed before DIR appears, and its folder after. That holds where bytes and names
//     that nobody flushed are lost in any part, as long as a folder's names change in order and a rename happens in both
//     folders or in neither; testlab/crash plays such cuts back.
//   - A full or failing disk ends in an error and loses nothing that is on it: the next Open goes on.
//   - Everything is written and renamed beneath os.Root handles. Symlinks are made at publication, when the kind of
//     every entry of the tree has been checked again. Where others may write in DIR's folder, links planted there, and
//     folders swapped for links once Open has returned, lead to nothing but this package's own.
//
// What is not: that others who may write in DIR's folder leave the staging tree alone between the check of a piece and
// publication (sizes, kinds and names are looked at again, contents are not); that a path given to Open, or a folder above
// DIR that others may rename, leads where one thinks; folders above DIR that Open made, after a power cut in the first
// seconds, on file systems that flush them only by themselves; that a disk which says "flushed" means it;
// owners, ACLs, extended attributes; the executable bit where the file system has none (Windows, FAT, SMB mounts), and the
// modification times of symlinks on Windows; that a file server has on its disk what it gave back when it was asked, or what
// it was told to flush; that a network mount keeps times finer than a second; that many small files come as fast where each
// takes a flush of its own, as on file systems by FUSE, of which the kernel flushes none as a whole: several are under way at
// a time, and the disk decides.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"handout/manifest"
)

// The outcomes a caller may want to tell apart, by errors.Is.
var (
	ErrExists      = errors.New("destination exists and is not this package")
	ErrInUse       = errors.New("in use by another program")
	ErrNotWritable = errors.New("not writable")
	ErrNoSpace     = errors.New("not enough space")
	ErrComplete    = errors.New("piece is complete already")
	ErrIncomplete  = errors.New("not complete yet")
	ErrCorrupt     = errors.New("content does not match the manifest")
	ErrChanged     = errors.New("file was changed after it was published")
	ErrClosed      = errors.New("tree is closed")
)

// Options say how a tree is kept. The zero value is a good one.
type Options struct {
	Replace bool // a destination that is something else is replaced at publication
	// Repair brings a tree of this package that stands at the destination back to what the manifest says: it is hashed
	// whatever a kept record says, and may be replaced without Replace as long as it has nothing the package does not have.
	Repair     bool
	Stage      string              // the tree grows beneath this folder and is copied to the destination; "": it grows beside that
	Keep       bool                // keep the record beside the published tree, so that the next Open trusts it without hashing
	Only       *manifest.Selection // a part of the package; nil: the whole; not together with Keep
	Reuse      []string            // folders and files that may have parts of the tree; what is to be replaced is one of them
	MaxOpen    int                 // files and folders held open at most; 0: 128
	FlushEvery time.Duration       // a verified piece is flushed and recorded after at most this time; 0: 5 s
	FlushBytes int64               // … or when so many bytes are waiting for it; 0: 64 MiB
	// Progress is called, possibly from several goroutines, while something that is here already is hashed; nil: not.
	Progress func(done, total int64)
	// Reusing is called like Progress while pieces are put together from what is here already.
	Reusing func(done, total int64)
	// Moving is called, possibly from several goroutines, while a tree that grew in Stage is copied to its destination,
	// with the bytes that are there; then Progress, while they are read back; nil: not.
	Moving func(done, total int64)
	Log    *slog.Logger // nil: silent

	beat time.Duration // see owner.go; 0: beatEvery
}

func (o Options) withDefaults() Options {
	if o.MaxOpen == 0 {
		o.MaxOpen = 128
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = 5 * time.Second
	}
	if o.FlushBytes == 0 {
		o.FlushBytes = 64 << 20
	}
	if o.Progress == nil {
		o.Progress = func(done, total int64) {}
	}
	if o.Reusing == nil {
		o.Reusing = func(done, total int64) {}
	}
	if o.Moving == nil {
		o.Moving = func(done, total int64) {}
	}
	if o.beat == 0 {
		o.beat = beatEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// wrap says what was attempted.
func wrap(err error, doing, path string) error {
	if err == nil {
		return nil
	}
	// The path in a PathError is relative to some folder handle; ours says more.
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("%s %s: %w", doing, path, err)
}

// explain is wrap for an attempt to change something: it adds which outcome the error means.
func explain(err error, doing, path string) error {
	var kind error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrInUse) || errors.Is(err, ErrNotWritable) || errors.Is(err, ErrNoSpace):
	case isNoSpace(err):
		kind = ErrNoSpace
	case isBusy(err):
		kind = ErrInUse
	case errors.Is(err, fs.ErrPermission) || isReadOnly(err) || isGone(err) || errors.Is(err, syscall.ENOTDIR):
		kind = ErrNotWritable
	}
	if kind == nil {
		return wrap(err, doing, path)
	}
	return fmt.Errorf("%w: %w", kind, wrap(err, doing, path))
}

// means is errors.Is that also takes an error's word: of some bbolt keeps only the text.
func means(err error, errno syscall.Errno) bool {
	return errors.Is(err, errno) || strings.HasSuffix(err.Error(), errno.Error())
}
