package semaphore

import "ipcfs/objects"

// version is that of saved.
const version = 1

// saved is the state of a semaphore and of its open files.
type saved struct {
	_         struct{} `cbor:",toarray"`
	Semaphore Snapshot
	Files     []savedFile
	Finished  []savedMove
}

// A Snapshot is the state of a semaphore, as a part of that of an object.
type Snapshot struct {
	_                                     struct{} `cbor:",toarray"`
	Value, Max                            int64
	Owners                                []savedOwner
	Waiting                               []savedWait
	Destroyed                             bool
	Changed, Taken                        objects.Time
	TookUnits, PostedUnits, Holds, Deaths int64
}

type savedOwner struct {
	_      struct{} `cbor:",toarray"`
	Caller objects.Caller
	Since  objects.Time
	Handle objects.Saved
}

type savedWait struct {
	_       struct{} `cbor:",toarray"`
	Request objects.Saved
	Units   int64
}

// savedMove is a wait that has finished.
type savedMove struct {
	_        struct{} `cbor:",toarray"`
	Request  objects.Saved
	Units    int64
	Consumed bool
	Told     []byte // nil: nothing
	Reads    bool   // its file is still reading that
}

// savedFile is an open file that is reading a value.
type savedFile struct {
	_       struct{} `cbor:",toarray"`
	Handle  objects.Saved
	Reading objects.SavedReading
	Text    []byte // nil: it has been delivered
}

// Save implements objects.Saver.
func (s *Semaphore) Save(handles []*objects.Handle, finished []*objects.Request) objects.State {
	state := objects.State{Handles: handles, Requests: finished}
	x := saved{Semaphore: s.Snapshot(&state)}
	for i, h := range handles {
		f := savedFile{Handle: objects.Saved(i + 1)}
		var body objects.Body
		if f.Reading, body = h.SaveReading(); body != nil {
			f.Text = body.(*objects.Text).Data
		}
		x.Files = append(x.Files, f)
	}
	for i, r := range finished {
		m := moves(r)
		f := savedMove{Request: objects.Saved(i + 1), Units: m.units, Consumed: m.consumed}
		if m.told != nil {
			f.Told, f.Reads = m.told.Data, r.Handle.Body() == objects.Body(m.told)
		}
		x.Finished = append(x.Finished, f)
	}
	state.Encode(version, x)
	return state
}

// Snapshot is the state of s, of which the lists of state have what it shares with the driver.
func (s *Semaphore) Snapshot(state *objects.State) Snapshot {
	x := Snapshot{
		Value: s.value, Max: s.max, Destroyed: s.destroyed, Changed: s.changed, Taken: s.taken,
		TookUnits: s.tookUnits, PostedUnits: s.postedUnits, Holds: s.holds, Deaths: s.deaths,
	}
	for _, o := range s.owners {
		x.Owners = append(x.Owners, savedOwner{Caller: o.Caller, Since: o.Since, Handle: objects.Place(&state.Handles, o.handle)})
	}
	for r := range s.waiting.All() {
		x.Waiting = append(x.Waiting, savedWait{Request: objects.Place(&state.Requests, r), Units: moves(r).units})
	}
	return x
}

// load is Kind.Load.
func load(_ objects.Ledger, state objects.State) (objects.Object, error) {
	var x saved
	if err := state.Decode(version, &x); err != nil {
		return nil, err
	}
	s := Restore(state, x.Semaphore)
	for _, f := range x.Files {
		var body objects.Body
		if f.Text != nil {
			body = &objects.Text{Data: f.Text}
		}
		objects.At(state.Handles, f.Handle).LoadReading(f.Reading, body)
	}
	for _, f := range x.Finished {
		r := objects.At(state.Requests, f.Request)
		m := moves(r)
		*m = move{units: f.Units, consumed: f.Consumed}
		switch {
		case f.Reads:
			m.told = r.Handle.Body().(*objects.Text)
		case f.Told != nil:
			m.told = &objects.Text{Data: f.Told}
		}
	}
	return s, nil
}

// Restore makes the semaphore of which x is the Snapshot.
func Restore(state objects.State, x Snapshot) *Semaphore {
	s := &Semaphore{
		value: x.Value, max: x.Max, destroyed: x.Destroyed, changed: x.Changed, taken: x.Taken,
		tookUnits: x.TookUnits, postedUnits: x.PostedUnits, holds: x.Holds, deaths: x.Deaths,
	}
	for _, o := range x.Owners {
		s.owners = append(s.owners, Owner{Caller: o.Caller, Since: o.Since, handle: objects.At(state.Handles, o.Handle)})
	}
	for _, w := range x.Waiting {
		r := objects.At(state.Requests, w.Request)
		*moves(r) = move{units: w.Units}
		s.waiting.Park(r)
	}
	return s
}
