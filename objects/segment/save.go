package segment

import (
	"ipcfs/objects"
	"ipcfs/objects/semaphore"
)

// version is that of saved.
const version = 1

// saved is the state of a segment. Its bytes are the driver's to keep.
type saved struct {
	_                struct{} `cbor:",toarray"`
	Memory           objects.Saved
	Owner            uint32
	Booked, Reserved int64
	Seals            seal
	Destroyed        bool
	Changed, Taken   objects.Time
	Attached         []savedAttachment
	Readers, Writers int64
	Lock             semaphore.Snapshot
}

type savedAttachment struct {
	_      struct{} `cbor:",toarray"`
	Handle objects.Saved
	Caller objects.Caller
}

// Save implements objects.Saver.
func (g *Segment) Save(handles []*objects.Handle, finished []*objects.Request) objects.State {
	state := objects.State{Handles: handles, Requests: finished}
	x := saved{
		Memory: objects.Place(&state.Memory, any(g.memory)), Owner: g.owner, Booked: g.booked, Reserved: g.reserved,
		Seals: g.seals, Destroyed: g.destroyed, Changed: g.changed, Taken: g.taken,
		Readers: g.readers, Writers: g.writers, Lock: g.lock.Snapshot(&state),
	}
	for _, a := range g.attached {
		x.Attached = append(x.Attached, savedAttachment{Handle: objects.Place(&state.Handles, a.Handle), Caller: a.Caller})
	}
	state.Encode(version, x)
	return state
}

// load is Kind.Load.
func load(l objects.Ledger, state objects.State) (objects.Object, error) {
	var x saved
	if err := state.Decode(version, &x); err != nil {
		return nil, err
	}
	g := &Segment{
		ledger: l, memory: objects.At(state.Memory, x.Memory).(Storage), owner: x.Owner, booked: x.Booked, reserved: x.Reserved,
		seals: x.Seals, destroyed: x.Destroyed, changed: x.Changed, taken: x.Taken,
		readers: x.Readers, writers: x.Writers, lock: semaphore.Restore(state, x.Lock),
	}
	for _, a := range x.Attached {
		g.attached = append(g.attached, Attachment{Handle: objects.At(state.Handles, a.Handle), Caller: a.Caller})
	}
	return g, nil
}

// A BodySnapshot is the state of a Body, as a part of that of an object.
type BodySnapshot struct {
	_              struct{} `cbor:",toarray"`
	Memory         objects.Saved
	Size, Reserved int64
	Seals          seal
	Owner          uint32
	Booked         int64
	Queued         bool
	Users          int
}

// Snapshot is the state of p, of which state.Memory has the memory.
func (p *Body) Snapshot(state *objects.State) BodySnapshot {
	x := BodySnapshot{
		Size: p.size, Reserved: p.reserved, Seals: p.seals, Owner: p.owner, Booked: p.booked,
		Queued: p.queued, Users: p.users,
	}
	if p.storage != nil {
		x.Memory = objects.Place(&state.Memory, any(p.storage))
	}
	return x
}

// RestoreBody makes the Body of which x is the Snapshot, booked in l.
func RestoreBody(l objects.Ledger, state objects.State, x BodySnapshot) *Body {
	p := &Body{
		size: x.Size, reserved: x.Reserved, seals: x.Seals, ledger: l, owner: x.Owner, booked: x.Booked,
		queued: x.Queued, users: x.Users,
	}
	if x.Memory != 0 {
		p.storage = objects.At(state.Memory, x.Memory).(Storage)
	}
	return p
}
