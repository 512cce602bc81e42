package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"handout/agent/plan"
	"handout/manifest"
)

// The entries of a staging folder.
const (
	treeName    = "tree"      // the files as they grow
	recordName  = "record.db" // bbolt; whoever holds its lock owns the staging folder
	journalName = "verified"  // piece indices, 4 bytes each, little-endian: verified, perhaps not flushed

	growingName  = "tree.torrent"    // the manifest of tree
	standingName = "package.torrent" // the manifest of what was published at the destination and is kept
	partSuffix   = ".new"            // of one that is being written

	evictedName = "evicted" // what stood at the destination, while it is removed
	evictsName  = "evicts"  // empty: what stands at the destination is removed there, as it can't be renamed
	pinName     = "pinned"  // empty: the tree at the destination must not be evicted
	usedName    = "used"    // empty: its time says when the tree was last of use
)

// The keys in the record's one bucket, "handout".
const (
	keyInfoHash  = "infohash"  // of the tree that grows
	keyPieces    = "pieces"    // of it: a bit for each piece that is flushed, lowest first
	keyToken     = "token"     // of a staging folder that does not lie beside its destination
	keyLinks     = "links"     // of it: which files may be linked to the old tree, 4 bytes each, little-endian
	keyPublished = "published" // of what stands at the destination: its info-hash and for each file its modification time
	keyOpen      = "open"      // of it: held by a Tree, or not vouched for, since the last such Tree was not closed
	keyChecked   = "checked"   // of it: see Tree.Checked; Unix seconds, 8 bytes, and a piece index, 4 bytes, little-endian
)

// staging is the folder in which a tree grows, and the lock on it.
type staging struct {
	parent  *os.Root // the folder it lies in; not ours to close
	name    string   // its own in parent
	root    *os.Root
	db      *bbolt.DB
	journal *os.File // nil until openJournal
	fresh   bool     // the record is new: it knows nothing of what may lie here
	looked  bool     // whose it is, is for the caller to judge
}

const stagingSuffix = ".handout"

// stagingName names the folder beside the destination base: its staging folder, or just its landing. Of a destination that
// is reached by itself it lies in there.
func stagingName(base string) string {
	if base == itself {
		return insideName
	}
	return "." + base + stagingSuffix
}

// openStaging locks the staging folder name in parent, making it if there is none.
func openStaging(parent *os.Root, name string) (*staging, error) {
	return lockAs(&staging{parent: parent, name: name})
}

// lockAs is openStaging of a staging folder of which the caller judges, perhaps, whose it is.
func lockAs(as *staging) (*staging, error) {
	parent := as.parent
	const tries = 10
	for try := 1; ; try++ {
		s := &staging{parent: as.parent, name: as.name, looked: as.looked}
		err := s.lock()
		if err == nil {
			return s, nil
		}
		s.close()
		// Its last owner removes the folder when its tree is published; then ours is one that has no name any more. A file
		// system where nothing can be made, such as Linux's /proc, says the same every time.
		switch where := filepath.Join(parent.Name(), s.name); {
		case !errors.Is(err, fs.ErrNotExist):
			return nil, explain(err, "open", where)
		case try == tries:
			return nil, fmt.Errorf("%w: %w", ErrNotWritable, wrap(err, "make", where))
		}
	}
}

func (s *staging) lock() error {
	err := s.parent.Mkdir(s.name, 0o700)
	there := errors.Is(err, fs.ErrExist)
	if err != nil && !there {
		return err
	}
	if s.root, err = openWithin(s.parent, s.name); err != nil {
		return err
	}
	if there && !s.looked {
		if err := closed(s.parent, s.root, s.name); err != nil {
			return err
		}
	}
	file, err := s.openRecord()
	if errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch) {
		// Not a record any more. What the pieces are worth will be seen by hashing them.
		if err2 := s.root.Remove(recordName); err2 != nil {
			return err
		}
		file, err = s.openRecord()
	}
	if err != nil {
		return err
	}
	held, err := file.Stat()
	if err != nil {
		return err
	}
	named, err := s.root.Lstat(recordName)
	if err == nil && !os.SameFile(held, named) {
		return fs.ErrNotExist
	}
	return err
}

func (s *staging) openRecord() (*os.File, error) {
	var file *os.File
	db, err := bbolt.Open(recordName, 0o600, &bbolt.Options{
		Timeout:      time.Nanosecond, // 0 would wait for ever
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, perm os.FileMode) (f *os.File, err error) {
			f, err = s.root.OpenFile(name, flag, perm)
			file = f
			return f, err
		},
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		if errors.Is(err, bolterrors.ErrTimeout) {
			err = ErrInUse
		}
		return nil, err
	}
	s.db = db
	return file, db.Update(func(tx *bbolt.Tx) error {
		s.fresh = tx.Bucket([]byte("handout")) == nil
		_, err := tx.CreateBucketIfNotExists([]byte("handout"))
		return err
	})
}

// get returns what the record holds under key; nil: nothing.
func (s *staging) get(key string) (value []byte) {
	s.db.View(func(tx *bbolt.Tx) error {
		value = append(value, tx.Bucket([]byte("handout")).Get([]byte(key))...)
		return nil
	})
	return value
}

// put changes several keys at once; when it returns, they are on the disk. A nil value deletes.
func (s *staging) put(values map[string][]byte) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("handout"))
		for key, value := range values {
			var err error
			if value == nil {
				err = b.Delete([]byte(key))
			} else {
				err = b.Put([]byte(key), value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return explain(err, "write", s.path(recordName))
}

func (s *staging) path(name string) string {
	return filepath.Join(s.parent.Name(), s.name, filepath.FromSlash(name))
}

// note remembers a piece over the death of the process, not over that of the machine. It may be called concurrently.
func (s *staging) note(i manifest.PieceIndex) error {
	_, err := s.journal.Write(binary.LittleEndian.AppendUint32(nil, uint32(i)))
	return explain(err, "write", s.path(journalName))
}

func (s *staging) openJournal() (err error) {
	s.journal, err = s.root.OpenFile(journalName, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return explain(err, "open", s.path(journalName))
}

// noted sets in b the pieces that were noted. After a power cut the file may hold anything.
func (s *staging) noted(b plan.Bitfield) error {
	data, err := s.root.ReadFile(journalName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "read", s.path(journalName))
	}
	for ; len(data) >= 4; data = data[4:] {
		b.Set(manifest.PieceIndex(binary.LittleEndian.Uint32(data)))
	}
	return nil
}

// remove removes an entry of the staging folder, whatever it is.
func (s *staging) remove(name string) error {
	return explain(removeAll(s.root, name), "remove", s.path(name))
}

// discard removes the staging folder with all that is in it, and closes it. The record goes last, since it says what
// the rest is; the lock is held until nothing is left that another process could take for its own.
func (s *staging) discard() error {
	if s.journal != nil {
		s.journal.Close()
	}
	err := s.removeAllBut(recordName)
	if err != nil {
		s.close()
		return err
	}
	err = s.root.Remove(recordName)
	s.close()
	if err != nil { // Windows does not remove a file that is open
		if root, err2 := openWithin(s.parent, s.name); err2 == nil {
			err = root.Remove(recordName)
			root.Close()
		}
	}
	if err == nil {
		err = s.parent.Remove(s.name)
	}
	return explain(err, "remove", filepath.Join(s.parent.Name(), s.name))
}

func (s *staging) removeAllBut(keep string) error {
	f, err := s.root.Open(".")
	if err != nil {
		return explain(err, "open", s.path("."))
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return explain(err, "look through", s.path("."))
	}
	for _, name := range names {
		if name == keep {
			continue
		}
		if err := s.remove(name); err != nil {
			return err
		}
	}
	return nil
}

// close releases the lock.
func (s *staging) close() error {
	var err error
	if s.journal != nil {
		s.journal.Close()
	}
	if s.db != nil {
		err = s.db.Close()
	}
	if s.root != nil {
		s.root.Close()
	}
	return err
}

// removeAll is os.Root.RemoveAll that also gets rid of folders that may not be written to.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	fs.WalkDir(root.FS(), filepath.ToSlash(name), func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			root.Chmod(path, 0o700) // before it is read: WalkDir comes here first
		}
		return nil
	})
	return root.RemoveAll(name)
}

func packBits(b plan.Bitfield) []byte {
	packed := make([]byte, (b.Len()+7)/8)
	for i := range b.All {
		packed[i/8] |= 1 << (i % 8)
	}
	return packed
}

func unpackBits(packed []byte, n int) plan.Bitfield {
	b := plan.NewBitfield(n)
	for i := range min(n, 8*len(packed)) {
		if packed[i/8]&(1<<(i%8)) != 0 {
			b.Set(manifest.PieceIndex(i))
		}
	}
	return b
}

// packTimes appends times to packed: Unix nanoseconds, 8 bytes, little-endian.
func packTimes(packed []byte, times []time.Time) []byte {
	for _, t := range times {
		packed = binary.LittleEndian.AppendUint64(packed, uint64(t.UnixNano()))
	}
	return packed
}

func unpackTimes(packed []byte) []time.Time {
	times := make([]time.Time, len(packed)/8)
	for i := range times {
		times[i] = time.Unix(0, int64(binary.LittleEndian.Uint64(packed[8*i:])))
	}
	return times
}
