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
	mu     sync.Mutex        // guards firsts
	firsts map[string]uint64 // where each label came first
}

// first reports whether the label at place is the first of its kind in d.
func (d *openDir) first(label string, place uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, known := d.firsts[label]; known {
		return at == place
	}
	d.firsts[label] = place
	return true
}

// rewind forgets what was listed.
func (d *openDir) rewind() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.firsts)
}

// OpenDir implements fuse.RawFileSystem.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	d, errno := f.directory(in.NodeId)
	if errno != 0 {
		return status(errno)
	}
	if d, ok := d.(*folderDir); ok && d.folder.label != nil && !d.folder.unique {
		out.Fh = f.keepOpen(&openDir{firsts: make(map[string]uint64)})
	}
	return fuse.OK
}

// directory is dirAt for callers that do not hold FS.mu.
func (f *FS) directory(id uint64) (dir, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dirAt(id)
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
	if folder, ok := d.(*folderDir); ok && folder.folder.label != nil {
		open := f.openDirectory(in.Fh)
		if open != nil && after == 0 {
			open.rewind()
		}
		fill(out, folder.labels(after, open))
		return fuse.OK
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
// a large buffer.
func fill(out *fuse.DirEntryList, entries iter.Seq2[uint64, fuse.DirEntry]) {
	n := 0
	for number, e := range entries {
		e.Off = number + offsetOfParent
		if !out.AddDirEntry(e) {
			return
		}
		if n++; n == batch {
			return
		}
	}
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
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	delete(f.dirs, in.Fh)
}
