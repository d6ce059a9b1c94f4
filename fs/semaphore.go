package fs

import (
	"fmt"
	"iter"
	"syscall"

	"ipcfs/objects"
)

func init() {
	present(presentation{
		kind: "semaphore",
		dir:  "semaphores",
		flat: spec{read: objects.Wait, write: objects.Post, eof: true},
		files: []spec{
			{name: "wait", mode: 0o600, read: objects.Wait, write: objects.Wait, eof: true},
			{name: "post", mode: 0o200, write: objects.Post},
			holdFile("hold"),
			{name: "owners", mode: 0o444, lines: linesOfOwners},
		},
	})
}

// holdFile is an endpoint that a process holds by having it open. It can be opened
// for reading and for writing, as shells have it; there is nothing to read, and what
// is written (a process's own number, in the manner of lock files) goes nowhere:
// owners tells who holds it.
func holdFile(name string) spec {
	return spec{
		name: name,
		mode: 0o600,
		open: objects.Hold,
		show: func(*FS, *object) []byte { return nil },
		set:  func(*FS, *object, *identity, string) syscall.Errno { return 0 },
	}
}

// linesOfOwners gives a line for each holder: pid, uid, command and seconds held.
func linesOfOwners(f *FS, o *object, _ *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for owner := range f.owners(o) {
			pid, command := process(owner.Caller.Pid)
			if !yield(fmt.Appendf(nil, "%d %d %s %.1f\n", pid, owner.Caller.Uid, command, float64(f.now()-owner.Since)/1e9)) {
				return
			}
		}
	}
}
