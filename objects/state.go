package objects

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// A Saver is an Object whose state can be written down and read back. Kind.Load reads it. An
// object that was loaded does from then on what the one that was saved would have done.
type Saver interface {
	Object

	// Save is the state. handles are the open files of the object, all of them, and finished
	// are the requests that it has finished and that could still be given back by Return, or
	// are to be finished again by Rendered.
	Save(handles []*Handle, finished []*Request) State
}

// A State is all that decides what an object does from here on. What it shares with its driver
// is beside it: Data name it by its place there. The driver keeps the exported fields of
// handles and requests, and makes new ones with these before it loads the state. What is
// booked in the ledger stays booked.
type State struct {
	Version  int
	Data     []byte     // in CBOR, RFC 8949; the same for the same state
	Handles  []*Handle  // as they were given to Save
	Requests []*Request // as they were given to Save, and those that are parked
	Memory   []any      // of segments, as they were given to them
}

// Detach takes from the handles and requests of s what the object keeps with them: they are as a
// driver makes them that loads s.
func (s State) Detach() {
	for _, h := range s.Handles {
		*h = Handle{
			Reads: h.Reads, Writes: h.Writes, ReadOp: h.ReadOp, WriteOp: h.WriteOp,
			EOF: h.EOF, Seekable: h.Seekable, Serial: h.Serial, Process: h.Process,
		}
	}
	for _, r := range s.Requests {
		*r = Request{
			Op: r.Op, Nonblock: r.Nonblock, Killed: r.Killed, More: r.More, Caller: r.Caller, Deputy: r.Deputy,
			Handle: r.Handle, Size: r.Size, Offset: r.Offset, Data: r.Data, N: r.N,
			Keep: r.Keep, Keeps: r.Keeps, Buffer: r.Buffer, Units: r.Units, Unrendered: r.Unrendered,
			Errno: r.Errno, Broken: r.Broken, Since: r.Since, Tag: r.Tag,
		}
	}
}

// encoding is the core deterministic encoding of RFC 8949, 4.2.1.
var encoding = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// Encode sets the data of s, of what a kind saves.
func (s *State) Encode(version int, saved any) {
	data, err := encoding.Marshal(saved)
	if err != nil {
		panic(err) // of plain values
	}
	s.Version, s.Data = version, data
}

// Decode reads the data of s back. It fails if they are of another version or damaged.
func (s State) Decode(version int, saved any) error {
	if s.Version != version {
		return fmt.Errorf("version %d of a state, want %d", s.Version, version)
	}
	return cbor.Unmarshal(s.Data, saved)
}

// A Saved is a reference to one of the lists of a State: its place there counted from 1, 0 for
// nothing.
type Saved uint32

// Place is the reference to x in all, which it adds x to if it is not there.
func Place[T comparable](all *[]T, x T) Saved {
	var none T
	if x == none {
		return 0
	}
	for i, y := range *all {
		if x == y {
			return Saved(i + 1)
		}
	}
	*all = append(*all, x)
	return Saved(len(*all))
}

// At is what the reference p is to, the zero T for none. It panics if all has no such place,
// which Loading turns into an error.
func At[T any](all []T, p Saved) T {
	if p == 0 {
		var none T
		return none
	}
	return all[p-1]
}

// Loading makes what a kind's load panics over, a state that is damaged, an error.
func Loading(load func(l Ledger, s State) (Object, error)) func(l Ledger, s State) (Object, error) {
	return func(l Ledger, s State) (o Object, err error) {
		defer func() {
			if r := recover(); r != nil {
				o, err = nil, fmt.Errorf("%w: %v", ErrDamaged, r)
			}
		}()
		return load(l, s)
	}
}

// ErrDamaged is the error of a state that refers to what there is not, or says what cannot be.
var ErrDamaged = errors.New("damaged state")

// Has reports whether p is a reference to one of the requests of s.
func (s State) Has(p Saved) bool { return p > 0 && int(p) <= len(s.Requests) }

// A SavedReading is what a handle is reading, but for the body.
type SavedReading struct {
	_    struct{} `cbor:",toarray"`
	End  bool
	Base int64
	Read int
}

// SaveReading is what h is reading, and how far it is.
func (h *Handle) SaveReading() (SavedReading, Body) {
	return SavedReading{End: h.end, Base: h.base, Read: h.read}, h.body
}

// LoadReading has h read b, which may be nil, from where r says.
func (h *Handle) LoadReading(r SavedReading, b Body) {
	h.end, h.base, h.read, h.body = r.End, r.Base, r.Read, b
}

// Park parks r again in q, since when it was before.
func (q *Queue) Park(r *Request) { q.Push(r.Since, r) }
