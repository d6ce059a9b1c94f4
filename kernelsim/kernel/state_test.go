package kernel_test

import (
	"reflect"
	"testing"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/laws"
	"ipcfs/objects"
)

// A field that was renamed would be hashed, and every state would be a new one.
func TestWhatStatesLeaveOutIsThere(t *testing.T) {
	met := map[[2]string]bool{}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		switch of.Kind() {
		case reflect.Map:
			walk(of.Key())
			walk(of.Elem())
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(of.Elem())
		case reflect.Struct:
			for i := range of.NumField() {
				met[[2]string{of.Name(), of.Field(i).Name}] = true
				walk(of.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[kernel.File]())
	k := &kernel.Kernel{Laws: laws.Of}
	for _, kind := range objects.Kinds() {
		n, err := k.Create(kind.Name, kind)
		if err != nil {
			t.Fatal(err)
		}
		walk(reflect.TypeOf(n.Object))
		r := &objects.Request{Op: objects.Open, Handle: new(objects.Handle)}
		n.Object.Submit(0, r)
		for _, own := range []any{r.Own, r.Handle.Own} {
			if own != nil {
				walk(reflect.TypeOf(own))
			}
		}
		if s := n.Monitor().State(); s != nil {
			walk(reflect.TypeOf(s))
		}
	}
	for _, f := range kernel.SpecialFields() {
		if !met[f] {
			t.Errorf("no type %s has a field %s", f[0], f[1])
		}
	}
}
