package kernel

import (
	"fmt"
	"slices"

	"ipcfs/objects"
)

// reload puts in place of n's object one that is loaded from what was saved of it.
func (k *Kernel) reload(n *Node) error {
	saver, ok := n.Object.(objects.Saver)
	if !ok {
		return nil
	}
	var handles []*objects.Handle
	var finished []*objects.Request
	uses := func(h *objects.Handle) {
		if h != nil && !slices.Contains(handles, h) {
			handles = append(handles, h)
		}
	}
	for _, p := range k.processes {
		for _, f := range p.files {
			if f.Node == n {
				uses(f.Handle)
			}
		}
		if r := p.request; r != nil && p.file.Node == n {
			if uses(r.Handle); !r.Parked() {
				finished = append(finished, r)
			}
		}
	}
	state := saver.Save(handles, finished)
	state.Detach()
	loaded, err := n.Kind.Load(&n.accounts, state)
	if err != nil {
		return err
	}
	n.setObject(loaded)
	if again := loaded.(objects.Saver).Save(handles, finished); string(again.Data) != string(state.Data) {
		return fmt.Errorf("%s was loaded from %x and is saved as %x", n.Name, state.Data, again.Data)
	}
	return nil
}
