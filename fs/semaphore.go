package fs

import (
	"fmt"
	"iter"

	"ipcfs/objects"
	_ "ipcfs/objects/semaphore" // registers the kind
)

func init() {
	present(presentation{
		kind: "semaphore",
		dir:  "semaphores",
		flat: fileSpec{ops: &endpoint{reads: objects.Wait, writes: objects.Post, eof: true}},
		files: []fileSpec{
			{"wait", 0o600, &endpoint{reads: objects.Wait, writes: objects.Wait, eof: true}},
			{"post", 0o200, &endpoint{writes: objects.Post}},
			holdFile("hold"),
			{"owners", 0o444, &listing{linesOfOwners}},
		},
	})
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
