package fs

import "sync"

// The kernel keeps a name that was looked up, and the nodes it leads to, until memory is
// short, or it is told that the name is gone. rmdir(2) tells it, for what is not in use.
// Nothing tells it of what an object's destroy file ends, of NAME.d when NAME goes, and of
// files that are still open: those have to be named.

// maxForgotten is how many entries wait at most to be forgotten. What is beyond that the
// kernel keeps until memory is short. 65,536 take a few megabytes.
const maxForgotten = 1 << 16

// An oblivion makes the kernel forget names. One goroutine does it, which lives while
// there is something to forget: the kernel may let it wait for the lock of a directory
// while that one waits for us.
type oblivion struct {
	mu      sync.Mutex // guards what follows; taken with FS.mu held
	entries []forgotten
	running bool
}

// A forgotten is a name in the directory that node is, or an object whose files are to
// be forgotten.
type forgotten struct {
	dir    uint64
	name   string
	object *object // nil: a name
}

// forgetEntryLocked makes the kernel forget name in dir, where it knows something that is not
// there any more: what it has moved there is another file now, say. FS.mu is held.
func (f *FS) forgetEntryLocked(dir *inode, name string) {
	if dir.node != nil {
		f.forgetLaterLocked(forgotten{dir: dir.node.id, name: name})
	}
}

// forgetFilesLocked makes the kernel forget the files of o, which is gone. FS.mu is held.
func (f *FS) forgetFilesLocked(o *object) {
	if o.dir.node != nil {
		f.forgetLaterLocked(forgotten{object: o})
	}
}

func (f *FS) forgetLaterLocked(e forgotten) {
	q := &f.oblivion
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.conn == nil || len(q.entries) >= maxForgotten {
		return
	}
	q.entries = append(q.entries, e)
	if !q.running {
		q.running = true
		f.spawn("forgetting of names", f.forgetAll)
	}
}

// forgetAll tells the kernel what it is to forget until there is no more. No lock is
// held.
func (f *FS) forgetAll() {
	for {
		entries := f.oblivion.take()
		if entries == nil {
			return
		}
		for _, e := range entries {
			if e.object == nil {
				f.conn.NotifyInvalEntry(e.dir, e.name)
				continue
			}
			for _, e := range f.knownFiles(e.object) {
				f.conn.NotifyInvalEntry(e.dir, e.name)
			}
		}
	}
}

func (q *oblivion) take() []forgotten {
	q.mu.Lock()
	defer q.mu.Unlock()
	entries := q.entries
	q.entries = nil
	q.running = entries != nil
	return entries
}

// knownFiles lists the names in o's directory and its folders that lead to what the
// kernel knows, files before the folder they are in.
func (f *FS) knownFiles(o *object) (l []forgotten) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add := func(dir *inode, name string, i *inode) {
		if dir.node != nil && i.nodes > 0 {
			l = append(l, forgotten{dir: dir.node.id, name: name})
		}
	}
	for _, folder := range o.folders {
		if folder == nil {
			continue
		}
		for name, file := range folder.members {
			add(&folder.inode, name, &file.inode)
		}
		add(&o.dir.inode, folder.folder.name, &folder.inode)
	}
	for _, file := range o.files {
		if file != nil {
			add(&o.dir.inode, file.spec.name, &file.inode)
		}
	}
	return l
}
