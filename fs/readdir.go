package fs

import (
	"iter"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A directory is listed in pieces, each from the entry behind the last of the piece
// before: nothing of the whole is kept, and no lock is held for longer than a piece
// takes. The offsets that the kernel sees are the numbers of the entries, so telldir(3)
// and seekdir(3) mean the entry, not how many were before it.
//
// What is there from rewinddir(3) to the end is listed exactly once. What comes, goes
// or is renamed meanwhile may be listed or not.

// Offsets of the entries that every directory has. The others' follow.
const (
	offsetOfSelf = iota + 1
	offsetOfParent
)

// An openDir is what has to be kept of an open directory whose names are labels of
// messages.
type openDir struct {
	ledger *ledger
	uid    uint32 // who opened it

	mu     sync.Mutex        // guards what follows
	firsts map[string]uint64 // where each label came first
	cost   int64             // the bytes of that, booked on uid
}

// What an open directory costs the daemon in bytes, and each label that it remembers.
const (
	openDirCost = 512
	labelCost   = 128
)

// first reports whether the label at place is the first of its kind in d. ENOSPC, EDQUOT:
// there is no room to remember it.
func (d *openDir) first(label string, place uint64) (bool, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, known := d.firsts[label]; known {
		return at == place, 0
	}
	cost := labelCost + int64(len(label))
	if errno := d.ledger.keep(d.uid, amounts{Kept: cost}); errno != 0 {
		return false, errno
	}
	d.firsts[label] = place
	d.cost += cost
	return true, 0
}

// rewind forgets what was listed.
func (d *openDir) rewind() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ledger.adjust(d.uid, amounts{Kept: -d.cost})
	d.firsts, d.cost = make(map[string]uint64), 0
}

// OpenDir implements fuse.RawFileSystem.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	d, errno := f.directory(in.NodeId)
	if errno != 0 {
		return status(errno)
	}
	if d, ok := d.(*folderDir); ok && d.folder.list != nil && !d.folder.unique {
		if errno := f.ledger.keep(in.Uid, amounts{Kept: openDirCost}); errno != 0 {
			return status(errno)
		}
		out.Fh = f.keepOpen(&openDir{ledger: f.ledger, uid: in.Uid, firsts: make(map[string]uint64)})
	}
	return fuse.OK
}

// directory is dirAtLocked for callers that do not hold FS.mu.
func (f *FS) directory(id uint64) (dir, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dirAtLocked(id)
}

// keepOpen gives d a number.
func (f *FS) keepOpen(d *openDir) uint64 {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	f.lastFh++
	f.dirs[f.lastFh] = d
	return f.lastFh
}

// ReadDir implements fuse.RawFileSystem.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d, errno := f.directory(in.NodeId)
	if errno != 0 {
		return status(errno)
	}
	after := uint64(0)
	switch in.Offset {
	case 0:
		out.AddDirEntry(fuse.DirEntry{Name: ".", Ino: d.base().ino, Mode: fuse.S_IFDIR, Off: offsetOfSelf})
		fallthrough
	case offsetOfSelf:
		out.AddDirEntry(fuse.DirEntry{Name: "..", Ino: f.parentOf(d), Mode: fuse.S_IFDIR, Off: offsetOfParent})
	default:
		after = in.Offset - offsetOfParent
	}
	if folder, ok := d.(*folderDir); ok && folder.folder.list != nil {
		open := f.openDirectory(in.Fh)
		if open == nil && !folder.folder.unique {
			return fuse.EBADF
		}
		if open != nil && after == 0 {
			open.rewind()
		}
		errno := syscall.Errno(0)
		if n := fill(out, folder.listed(after, open, &errno)); n > 0 {
			errno = 0 // which comes again
		}
		return status(errno)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fill(out, d.list(after))
	return fuse.OK
}

// openDirectory returns what is kept of the open directory fh, nil if nothing is.
func (f *FS) openDirectory(fh uint64) *openDir {
	f.handlesMu.RLock()
	defer f.handlesMu.RUnlock()
	return f.dirs[fh]
}

// fill adds entries as long as there is room, and no more than batch: a caller may have
// a large buffer. It returns how many there are.
func fill(out *fuse.DirEntryList, entries iter.Seq2[uint64, fuse.DirEntry]) (n int) {
	for number, e := range entries {
		e.Off = number + offsetOfParent
		if !out.AddDirEntry(e) {
			break
		}
		if n++; n == batch {
			break
		}
	}
	return n
}

// parentOf is the inode number of the directory that d is in.
func (f *FS) parentOf(d dir) uint64 {
	switch d := d.(type) {
	case *objectDir:
		return d.object.kind.ino
	case *folderDir:
		return d.object.dir.ino
	}
	return f.root.ino
}

// ReleaseDir implements fuse.RawFileSystem.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) {
	if d := f.dropOpen(in.Fh); d != nil {
		d.rewind()
		f.ledger.adjust(d.uid, amounts{Kept: -openDirCost})
	}
}

// dropOpen undoes keepOpen.
func (f *FS) dropOpen(fh uint64) *openDir {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	d := f.dirs[fh]
	delete(f.dirs, fh)
	return d
}
