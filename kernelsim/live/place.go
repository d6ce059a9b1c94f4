package live

import (
	"encoding/json"
	"syscall"

	"ipcfs/kernelsim/scenario"
)

// A Place is where the objects of a run are. The coordinator makes it; each process
// finds it again by its name and address.
type Place interface {
	// Name and At tell a process where to find the place.
	Name() string
	At() any

	// Shared is the path of a file that processes map for what they share.
	Shared() string

	// Query is what an object shows: messages, bytes, value, waiting.
	Query(what string, object int) (int64, error)

	// Parked tells which processes wait in an object.
	Parked(pids []int) (map[int]bool, error)

	// Pending tells whether time alone will change an object: a message expires, a lease
	// ends.
	Pending() (bool, error)

	// Closing tells whether anything of an object is open: if every process has ended, the
	// files of one are still being closed behind its back.
	Closing() (bool, error)

	// Opened is told that all processes have opened their ends.
	Opened()

	// Remove removes what was made.
	Remove() error

	// What follows is for a process, on one thread.

	// Open opens all ends that are not open, or none. The error wraps an errno.
	Open(ends []scenario.End) error
	Do(o scenario.Operation) ([]byte, syscall.Errno)
	Close(object int, held bool)
	SetPolicy(object int, name, value string) syscall.Errno
	Destroy(object int) error
}

// A Find makes a process's Place from what At has returned.
type Find = func(at json.RawMessage, s *scenario.Scenario) (Place, error)
