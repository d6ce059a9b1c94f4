package objects

// A List is a doubly linked list through its elements, which costs no memory and finds an
// element's neighbours without a search. An element is in one list at a time. It embeds
// links of its own type:
//
//	type Request struct { Links[Request]; … }
//	var waiting List[Request, *Request]
type List[T any, P element[T]] struct {
	first, last *T
}

// Links are the neighbours of an element, nil at the ends and outside of a list.
type Links[T any] struct{ prev, next *T }

func (l *Links[T]) linked() *Links[T] { return l }

// Next is the element behind, nil if there is none.
func (l *Links[T]) Next() *T { return l.next }

// Prev is the element before, nil if there is none.
func (l *Links[T]) Prev() *T { return l.prev }

// An element is a pointer to what embeds Links.
type element[T any] interface {
	*T
	linked() *Links[T]
}

// First is the first element, nil if there is none.
func (l *List[T, P]) First() *T { return l.first }

// Last is the last element, nil if there is none.
func (l *List[T, P]) Last() *T { return l.last }

// Push adds x as the last.
func (l *List[T, P]) Push(x *T) { l.Insert(x, l.last) }

// Insert adds x after the element at, or as the first if that is nil.
func (l *List[T, P]) Insert(x, at *T) {
	k := P(x).linked()
	k.prev = at
	if at == nil {
		k.next, l.first = l.first, x
	} else {
		before := P(at).linked()
		k.next, before.next = before.next, x
	}
	if k.next == nil {
		l.last = x
	} else {
		P(k.next).linked().prev = x
	}
}

// Remove takes x out.
func (l *List[T, P]) Remove(x *T) {
	k := P(x).linked()
	if k.prev == nil {
		l.first = k.next
	} else {
		P(k.prev).linked().next = k.next
	}
	if k.next == nil {
		l.last = k.prev
	} else {
		P(k.next).linked().prev = k.prev
	}
	k.prev, k.next = nil, nil
}

// Empty reports whether there is no element.
func (l *List[T, P]) Empty() bool { return l.first == nil }
