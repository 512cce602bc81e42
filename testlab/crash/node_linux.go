package crash

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or folder of a Disk. What it does not override is passed through unseen.
type node struct {
	fs.LoopbackNode
	disk *Disk
}

// WrapChild makes the files and folders in it nodes too.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, disk: n.disk}
}

func idOf(i *fs.Inode) fileID { return fileID{i.StableAttr().Ino, i.StableAttr().Gen} }

func (n *node) id() fileID { return idOf(n.EmbeddedInode()) }

// where is the node's path from the mount.
func (n *node) where() string {
	if p := n.Path(n.Root()); p != "" {
		return p
	}
	return "."
}

// made adds to an operation which file came to be.
func (op *Op) made(i *fs.Inode) {
	if i != nil {
		op.file = idOf(i)
	}
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (made *fs.Inode, errno syscall.Errno) {
	op := Op{Kind: "mkdir", Path: under(n.where(), name), change: change{folder: n.id(), name: name, mode: mode & 0o7777}}
	errno = n.disk.do(op, func(op *Op) (errno syscall.Errno) {
		made, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out)
		op.made(made)
		return errno
	})
	return made, errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (made *fs.Inode, fh fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	op := Op{Kind: "create", Path: under(n.where(), name), change: change{folder: n.id(), name: name, mode: mode & 0o7777}}
	errno = n.disk.do(op, func(op *Op) (errno syscall.Errno) {
		made, fh, fuseFlags, errno = n.LoopbackNode.Create(ctx, name, flags, mode, out)
		op.made(made)
		return errno
	})
	if errno == 0 {
		fh = &file{LoopbackFile: fh.(*fs.LoopbackFile), node: made.Operations().(*node)}
	}
	return made, fh, fuseFlags, errno
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (made *fs.Inode, errno syscall.Errno) {
	op := Op{Kind: "symlink", Path: under(n.where(), name), change: change{folder: n.id(), name: name, target: target}}
	errno = n.disk.do(op, func(op *Op) (errno syscall.Errno) {
		made, errno = n.LoopbackNode.Symlink(ctx, target, name, out)
		op.made(made)
		return errno
	})
	return made, errno
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (made *fs.Inode, errno syscall.Errno) {
	old := target.(*node)
	op := Op{Kind: "link", Path: old.where(), To: under(n.where(), name), change: change{folder: n.id(), name: name, file: old.id()}}
	errno = n.disk.do(op, func(*Op) (errno syscall.Errno) {
		made, errno = n.LoopbackNode.Link(ctx, target, name, out)
		return errno
	})
	return made, errno
}

func (n *node) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	op := Op{Kind: "unlink", Path: under(n.where(), name), change: change{folder: n.id(), name: name}}
	return n.disk.do(op, func(*Op) syscall.Errno { return n.LoopbackNode.Unlink(ctx, name) })
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	op := Op{Kind: "rmdir", Path: under(n.where(), name), change: change{folder: n.id(), name: name}}
	return n.disk.do(op, func(*Op) syscall.Errno { return n.LoopbackNode.Rmdir(ctx, name) })
}

func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	to := newParent.(*node)
	op := Op{Kind: "rename", Path: under(n.where(), name), To: under(to.where(), newName),
		change: change{folder: n.id(), name: name, toFolder: to.id(), toName: newName}}
	return n.disk.do(op, func(*Op) syscall.Errno { return n.LoopbackNode.Rename(ctx, name, newParent, newName, flags) })
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	op := Op{Kind: "setattr", Path: n.where(), change: change{file: n.id()}}
	if size, ok := in.GetSize(); ok {
		op.Kind, op.off = "truncate", int64(size)
	}
	op.newMode, op.setMode = in.GetMode()
	op.mtime, op.setTime = in.GetMTime()
	return n.disk.do(op, func(*Op) syscall.Errno { return n.LoopbackNode.Setattr(ctx, f, in, out) })
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	var fh fs.FileHandle
	open := func(op *Op) (errno syscall.Errno) {
		fh, _, errno = n.LoopbackNode.Open(ctx, flags)
		return errno
	}
	var errno syscall.Errno
	if flags&syscall.O_TRUNC != 0 {
		errno = n.disk.do(Op{Kind: "truncate", Path: n.where(), change: change{file: n.id()}}, open)
	} else {
		errno = open(nil)
	}
	if errno != 0 {
		return nil, 0, errno
	}
	return &file{LoopbackFile: fh.(*fs.LoopbackFile), node: n}, 0, 0
}

// Fsync is of a file and of a folder.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	// Nothing is gained by flushing what lies beneath: whoever plays a power cut does it from the recording.
	return n.disk.do(Op{Kind: "fsync", Path: n.where(), change: change{file: n.id()}}, func(*Op) syscall.Errno { return 0 })
}

// OpendirHandle leaves flushing the folder to Fsync.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return listing{fh.(lister)}, fuseFlags, 0
}

type lister interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
}

type listing struct{ lister }

// file is an open file of a Disk.
type file struct {
	*fs.LoopbackFile
	node *node
}

func (f *file) Write(ctx context.Context, data []byte, off int64) (written uint32, errno syscall.Errno) {
	op := Op{Kind: "write", Path: f.node.where(), Size: len(data), change: change{file: f.node.id(), off: off, data: data}}
	errno = f.node.disk.do(op, func(op *Op) (errno syscall.Errno) {
		written, errno = f.LoopbackFile.Write(ctx, op.data, off)
		return errno
	})
	return written, errno
}

// Fsync is the node's affair.
func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	return f.node.Fsync(ctx, f, flags)
}

// PassthroughFd is refused, so that every write comes by here.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

// Allocate is refused, as it is by many file systems.
func (f *file) Allocate(context.Context, uint64, uint64, uint32) syscall.Errno {
	return syscall.ENOTSUP
}
