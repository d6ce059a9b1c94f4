package objects_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ipcfs/objects"
	_ "ipcfs/objects/mailbox"
	_ "ipcfs/objects/pipe"
	_ "ipcfs/objects/segment"
	_ "ipcfs/objects/semaphore"
)

// used makes an object of a kind with open files, somebody who waits and, if it can, something held.
func used(k objects.Kind) (objects.Object, []*objects.Handle) {
	o := k.New(objects.Unlimited)
	var handles []*objects.Handle
	for _, op := range k.Ops {
		h := &objects.Handle{Reads: true, Writes: true, ReadOp: op, WriteOp: op}
		if o.Submit(1, &objects.Request{Op: objects.Open, Handle: h}); slices.Contains([]objects.Op{objects.Open, objects.Close, objects.Connect, objects.Release, objects.Flush}, op) {
			continue
		}
		handles = append(handles, h)
		for range 3 {
			o.Submit(2, &objects.Request{Op: op, Handle: h, Data: []byte("12345678"), Size: 3, Units: 1})
		}
	}
	return o, handles
}

// A state that is damaged is an error, or is loaded as something else: it is no panic.
func TestDamagedStatesPanicNobody(t *testing.T) {
	for _, k := range objects.Kinds() {
		rng := rand.New(rand.NewPCG(1, 1))
		refused := 0
		for range 400 {
			o, handles := used(k)
			state := o.(objects.Saver).Save(handles, nil)
			state.Detach()
			if _, err := k.Load(objects.Unlimited, objects.State{Version: state.Version + 1, Data: state.Data, Handles: handles, Requests: state.Requests, Memory: state.Memory}); err == nil {
				t.Fatalf("a %s of another version was loaded", k.Name)
			}
			for range 1 + rng.IntN(3) {
				// Not into a length of its own: a checksum stands before the log of what could be
				// long.
				if i := rng.IntN(len(state.Data)); state.Data[i] < 24 {
					state.Data[i] = byte(rng.IntN(24))
				} else {
					state.Data[i] ^= byte(1 << rng.IntN(3))
				}
			}
			if _, err := k.Load(objects.Unlimited, state); err != nil {
				refused++
			}
		}
		if refused < 20 {
			t.Errorf("of 400 damaged states of a %s %d were refused", k.Name, refused)
		}
	}
}
