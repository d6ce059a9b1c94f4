package kernel

import (
	"bytes"
	"reflect"
	"unsafe"
)

// A Camera takes images of a run and returns to them, so that a search needs no replay. An
// image is a copy of all memory that is reached from the kernel by pointers. To return to it
// is to copy that back to where it was: what points there goes on to. What the run has made
// since is then reached by nobody.
//
// Not followed are functions, and fields with the tag `state:"fixed"`: what these point to
// does not change in a run. Processes must be Programs: a coroutine cannot return.
type Camera struct {
	k       *Kernel
	shapes  map[reflect.Type]*shape
	spots   map[spotKey]*spot
	round   int // of the walk through memory
	taken   []cell
	changed []cell // as they were
	base    *cell  // of the image that the last one was taken from, while the run is as in the last one
}

// An Image is a state of a run to return to.
type Image struct {
	cells []cell
	whole int // how many there were when all memory was walked through last
}

// A cell is what was in a spot. Cells that are equal share the copy.
type cell struct {
	spot *spot
	copy unsafe.Pointer
}

// A spot is a piece of memory that does not move: a variable, or the elements of a slice.
type spot struct {
	at    unsafe.Pointer
	of    *shape
	n     int            // how many elements
	was   unsafe.Pointer // the copy that was taken last, or copied back
	round int            // in which it was met last

	isMap   bool
	entries reflect.Value // the map, if it is one
}

type spotKey struct {
	at unsafe.Pointer
	of *shape
	n  int
}

// A shape is where the pointers of a type are.
type shape struct {
	typ   reflect.Type
	size  uintptr
	parts []part
	slice reflect.Type // of such elements
	flat  bool         // there are no pointers, not even to strings

	pointers []bool // of each word, whether it is one; the size is a multiple of a word then
}

// A part is what is followed within a type.
type part struct {
	offset uintptr
	typ    reflect.Type
	kind   reflect.Kind
	elem   *shape // of what a pointer or a slice refers to
}

// NewCamera is a camera for k, nil if a process is a coroutine.
func NewCamera(k *Kernel) *Camera {
	for _, p := range k.processes {
		if p.program == nil {
			return nil
		}
	}
	return &Camera{k: k, shapes: map[reflect.Type]*shape{}, spots: map[spotKey]*spot{}}
}

// maxSpots is how many spots a camera knows, beside those of the images, before it forgets
// them: many are of objects that no state has any more.
const maxSpots = 1 << 17

// Take takes an image of the run as it is. If the run has come here from the image before in
// a step, what is as it was there leads to what it led to: only what has changed is walked
// through. What nobody reaches any more is left in such an image, until that is too much.
func (c *Camera) Take(before Image) Image {
	if len(c.spots) > maxSpots {
		clear(c.spots)
		before = Image{}
	}
	c.round++
	c.base = nil
	c.taken = c.taken[:0]
	whole := before.whole
	if len(before.cells) <= whole+whole/2 {
		c.changed = c.changed[:0]
		for _, it := range before.cells {
			s := it.spot
			s.round = c.round
			if !s.same(it.copy) {
				c.changed = append(c.changed, it)
				it.copy = s.copied()
			}
			s.was = it.copy
			c.taken = append(c.taken, it)
		}
		for _, it := range c.changed {
			c.followAll(it.spot, it.copy)
		}
		c.base = unsafe.SliceData(before.cells)
	}
	if len(c.taken) == 0 {
		c.visit(unsafe.Pointer(c.k), c.shape(reflect.TypeFor[Kernel]()), 1)
		whole = len(c.taken)
	}
	return Image{append(make([]cell, 0, len(c.taken)), c.taken...), whole}
}

// Return brings the run back to an image. Between an image that is taken and the next return
// there must be no step: see Stepped.
func (c *Camera) Return(image Image) {
	cells := image.cells
	if c.base != nil && c.base == unsafe.SliceData(cells) {
		cells = c.changed // nothing else has
	}
	c.base = nil
	for _, it := range cells {
		it.spot.was = it.copy
		it.spot.put(it.copy)
	}
}

// Stepped says that the run has gone on since the last image or return.
func (c *Camera) Stepped() { c.base = nil }

// visit takes the n elements at p, unless they were met before, and follows their pointers.
func (c *Camera) visit(p unsafe.Pointer, of *shape, n int) {
	if p == nil || n == 0 || of.size == 0 {
		return
	}
	key := spotKey{p, of, n}
	s := c.spots[key]
	if s == nil {
		s = &spot{at: p, of: of, n: n}
		c.spots[key] = s
	}
	c.take(s)
}

// take takes a spot, unless it was met before, and follows its pointers.
func (c *Camera) take(s *spot) {
	if s.round == c.round {
		return
	}
	s.round = c.round
	if s.was == nil || !s.same(s.was) {
		s.was = s.copied()
	}
	c.taken = append(c.taken, cell{s, s.was})
	c.followAll(s, nil)
}

// followAll follows the pointers in a spot, but those that it had before: they have been.
func (c *Camera) followAll(s *spot, before unsafe.Pointer) {
	if s.isMap {
		m := (*entries)(s.was).of
		for i := m.MapRange(); i.Next(); {
			c.boxed(i.Key())
			c.boxed(i.Value())
		}
		return
	}
	if len(s.of.parts) == 0 {
		return
	}
	for i := range s.n {
		offset := uintptr(i) * s.of.size
		if before == nil {
			c.follow(unsafe.Add(s.at, offset), s.of, nil)
		} else {
			c.follow(unsafe.Add(s.at, offset), s.of, unsafe.Add(before, offset))
		}
	}
}

func (c *Camera) follow(p unsafe.Pointer, of *shape, before unsafe.Pointer) {
	for i := range of.parts {
		part := &of.parts[i]
		at := unsafe.Add(p, part.offset)
		if before != nil && same(at, unsafe.Add(before, part.offset), part.typ.Size()) {
			continue
		}
		switch part.kind {
		case reflect.Pointer:
			c.visit(*(*unsafe.Pointer)(at), part.elem, 1)
		case reflect.Slice:
			// A slice of another type has the same header.
			elements := *(*[]byte)(at)
			c.visit(unsafe.Pointer(unsafe.SliceData(elements)), part.elem, len(elements))
		case reflect.Interface:
			c.boxed(reflect.NewAt(part.typ, at).Elem().Elem())
		case reflect.Map:
			if m := *(*unsafe.Pointer)(at); m != nil {
				c.visitMap(reflect.NewAt(part.typ, at).Elem())
			}
		}
	}
}

// boxed follows what an interface or a map holds, which does not change in place.
func (c *Camera) boxed(v reflect.Value) {
	switch {
	case !v.IsValid():
	case v.Kind() == reflect.Pointer:
		c.visit(v.UnsafePointer(), c.shape(v.Type().Elem()), 1)
	default:
		if of := c.shape(v.Type()); len(of.parts) > 0 {
			place := reflect.New(v.Type())
			place.Elem().Set(v)
			c.follow(place.UnsafePointer(), of, nil)
		}
	}
}

// entries is a copy of a map.
type entries struct{ of, copy reflect.Value }

// visitMap takes a map: its entries are copied, and put back one by one.
func (c *Camera) visitMap(m reflect.Value) {
	of := c.shapes[m.Type()]
	if of == nil {
		of = &shape{typ: m.Type(), size: m.Type().Size()}
		c.shapes[m.Type()] = of
	}
	key := spotKey{m.UnsafePointer(), of, 1}
	s := c.spots[key]
	if s == nil {
		s = &spot{at: m.UnsafePointer(), of: of, n: 1, isMap: true, entries: reflect.ValueOf(m.Interface())}
		c.spots[key] = s
	}
	c.take(s)
}

// equal reports whether the map is as it was copied.
func (e *entries) equal() bool {
	if e.of.Len() != e.copy.Len() {
		return false
	}
	if !e.of.Type().Elem().Comparable() {
		return e.of.Len() == 0
	}
	for i := e.copy.MapRange(); i.Next(); {
		if v := e.of.MapIndex(i.Key()); !v.IsValid() || !v.Equal(i.Value()) {
			return false
		}
	}
	return true
}

func (e *entries) put() {
	if e.equal() {
		return
	}
	e.of.Clear()
	for i := e.copy.MapRange(); i.Next(); {
		e.of.SetMapIndex(i.Key(), i.Value())
	}
}

// same reports whether the spot is as in the copy.
func (s *spot) same(copy unsafe.Pointer) bool {
	if s.isMap {
		return (*entries)(copy).equal()
	}
	return same(s.at, copy, s.size())
}

func (s *spot) size() uintptr { return s.of.size * uintptr(s.n) }

// same reports whether two pieces of memory are equal.
func same(a, b unsafe.Pointer, size uintptr) bool {
	return bytes.Equal(unsafe.Slice((*byte)(a), size), unsafe.Slice((*byte)(b), size))
}

// copied is a copy of the spot. The garbage collector sees the pointers in it.
func (s *spot) copied() unsafe.Pointer {
	switch {
	case s.isMap:
		e := &entries{of: s.entries, copy: reflect.MakeMapWithSize(s.of.typ, s.entries.Len())}
		for i := s.entries.MapRange(); i.Next(); {
			e.copy.SetMapIndex(i.Key(), i.Value())
		}
		return unsafe.Pointer(e)
	case s.of.flat:
		return unsafe.Pointer(unsafe.SliceData(bytes.Clone(unsafe.Slice((*byte)(s.at), s.size()))))
	}
	var to unsafe.Pointer
	if s.n == 1 {
		to = reflect.New(s.of.typ).UnsafePointer()
	} else {
		to = reflect.MakeSlice(s.of.slice, s.n, s.n).UnsafePointer()
	}
	s.of.move(to, s.at, s.n)
	return to
}

// put copies back, if anything is other than it was: many images have most in common.
func (s *spot) put(from unsafe.Pointer) {
	switch {
	case s.isMap:
		(*entries)(from).put()
	case s.same(from):
	case s.of.flat:
		copy(unsafe.Slice((*byte)(s.at), s.size()), unsafe.Slice((*byte)(from), s.size()))
	default:
		s.of.move(s.at, from, s.n)
	}
}

const wordSize = unsafe.Sizeof(uintptr(0))

// move copies what differs of n elements, word by word: the garbage collector is to see
// pointers move, and nothing else is to be taken for one.
func (s *shape) move(to, from unsafe.Pointer, n int) {
	for element := range uintptr(n) {
		for i, isPointer := range s.pointers {
			at := element*s.size + uintptr(i)*wordSize
			a, b := unsafe.Add(to, at), unsafe.Add(from, at)
			switch {
			case *(*uintptr)(a) == *(*uintptr)(b):
			case isPointer:
				*(*unsafe.Pointer)(a) = *(*unsafe.Pointer)(b)
			default:
				*(*uintptr)(a) = *(*uintptr)(b)
			}
		}
	}
}

// shape is that of a type.
func (c *Camera) shape(t reflect.Type) *shape {
	if s := c.shapes[t]; s != nil {
		return s
	}
	s := &shape{typ: t, size: t.Size(), slice: reflect.SliceOf(t), pointers: make([]bool, t.Size()/wordSize)}
	c.shapes[t] = s // it may refer to itself
	s.flat = !c.addParts(s, 0, t)
	return s
}

// addParts adds what is followed in a t at offset, and reports whether there is any pointer.
func (c *Camera) addParts(s *shape, offset uintptr, t reflect.Type) (pointers bool) {
	words := 1
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			followed := s.parts
			pointers = c.addParts(s, offset+f.Offset, f.Type) || pointers
			if f.Tag.Get("state") == "fixed" {
				s.parts = followed
			}
		}
		return pointers
	case reflect.Array:
		for i := range t.Len() {
			if !c.addParts(s, offset+uintptr(i)*t.Elem().Size(), t.Elem()) {
				return false
			}
			pointers = true
		}
		return pointers
	case reflect.Pointer, reflect.Slice:
		s.parts = append(s.parts, part{offset, t, t.Kind(), c.shape(t.Elem())})
	case reflect.Interface:
		s.parts = append(s.parts, part{offset, t, t.Kind(), nil})
		words = 2
	case reflect.Map:
		s.parts = append(s.parts, part{offset, t, t.Kind(), nil})
	case reflect.String, reflect.Func:
	case reflect.Chan, reflect.UnsafePointer:
		panic("kernel: no image can be taken of a " + t.String())
	default:
		return false
	}
	for i := range words {
		s.pointers[offset/wordSize+uintptr(i)] = true
	}
	return true
}
