package filelock

import "ipcfs/objects"

// version is that of saved.
const version = 1

// saved is the state of a Table.
type saved struct {
	_       struct{} `cbor:",toarray"`
	Held    []Lock   // as Owners yields them
	Waiting []savedWait
}

type savedWait struct {
	_       struct{} `cbor:",toarray"`
	Request objects.Saved
	Lock    Lock
}

// Save is the state of t: see objects.Saver. Waits is not part of it.
func (t *Table) Save() objects.State {
	var state objects.State
	var x saved
	for l := range t.Owners() {
		x.Held = append(x.Held, l)
	}
	for r := range t.waiting.All() {
		x.Waiting = append(x.Waiting, savedWait{Request: objects.Place(&state.Requests, r), Lock: *Wanted(r)})
	}
	state.Encode(version, x)
	return state
}

// Load makes the table of which state was saved, with those Waits. What is booked in ledger stays
// so. It fails if the state is of another version or damaged.
func Load(waits *Waits, ledger objects.Ledger, state objects.State) (*Table, error) {
	var x saved
	if err := state.Decode(version, &x); err != nil {
		return nil, err
	}
	for _, w := range x.Waiting {
		if !state.Has(w.Request) {
			return nil, objects.ErrDamaged
		}
	}
	t := &Table{Waits: waits}
	for _, l := range x.Held {
		if l.Type != Shared && l.Type != Exclusive {
			return nil, objects.ErrDamaged
		}
		t.set(l)
	}
	t.Ledger = ledger // for which they are booked already
	for _, w := range x.Waiting {
		r := objects.At(state.Requests, w.Request)
		*Wanted(r) = w.Lock
		t.waiting.Park(r)
		t.Waits.add(t, r)
	}
	return t, nil
}
