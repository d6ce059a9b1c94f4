package objects

// A list is a doubly linked list through its elements, which costs no memory and finds an
// element's neighbours without a search. An element is in one list at a time. It embeds
// links of its own type:
//
//	type Request struct { links[Request]; … }
//	var waiting list[Request, *Request]
type list[T any, P element[T]] struct {
	first, last *T
}

// links are the neighbours of an element, nil at the ends and outside of a list.
type links[T any] struct{ prev, next *T }

func (l *links[T]) linked() *links[T] { return l }

// An element is a pointer to what embeds links.
type element[T any] interface {
	*T
	linked() *links[T]
}

// push adds x as the last.
func (l *list[T, P]) push(x *T) { l.insert(x, l.last) }

// insert adds x after the element at, or as the first if that is nil.
func (l *list[T, P]) insert(x, at *T) {
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

// remove takes x out.
func (l *list[T, P]) remove(x *T) {
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

func (l *list[T, P]) empty() bool { return l.first == nil }
