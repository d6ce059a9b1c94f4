package kernel

import (
	"encoding/binary"
	"math/bits"
	"reflect"
	"slices"
	"unsafe"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A Hash sums up a state. The zero value is ready for use.
type Hash struct{ sum uint64 }

// Odd factors whose bits are mixed well: those of wyhash.
const (
	factor = 0xa0761d6478bd642f
	other  = 0xe7037ed1a0b428db
)

// Uint adds v.
func (h *Hash) Uint(v uint64) {
	high, low := bits.Mul64(h.sum^factor, v^other)
	h.sum = bits.RotateLeft64(h.sum, 23) + (high ^ low) + factor
}

// Bytes adds b and its length.
func (h *Hash) Bytes(b []byte) {
	h.Uint(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		h.Uint(binary.LittleEndian.Uint64(b))
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		h.Uint(binary.LittleEndian.Uint64(last[:]))
	}
}

// String adds s and its length.
func (h *Hash) String(s string) { h.Bytes(unsafe.Slice(unsafe.StringData(s), len(s))) }

// Bool adds b.
func (h *Hash) Bool(b bool) {
	if b {
		h.Uint(1)
	} else {
		h.Uint(0)
	}
}

// Sum is the hash of what was added so far.
func (h *Hash) Sum() uint64 { return h.sum }

// A field is one of a type, by the names of both. The package does not count: a type that
// moves keeps its row, and a test fails over the row of one that was renamed.
type field struct{ of, name string }

// leftOut are the fields that count what an object has seen since it was made, or cache.
// They decide nothing that it does, and they would make every state a new one.
var leftOut = map[field]bool{
	{"Mailbox", "seq"}: true, {"Mailbox", "sent"}: true, {"Mailbox", "received"}: true, {"Mailbox", "dropped"}: true,
	{"Mailbox", "expired"}: true, {"Mailbox", "redelivered"}: true,
	{"Pipe", "written"}: true, {"Pipe", "received"}: true, {"Pipe", "dropped"}: true,
	{"Semaphore", "tookUnits"}: true, {"Semaphore", "postedUnits"}: true, {"Semaphore", "holds"}: true, {"Semaphore", "deaths"}: true,
	{"Message", "Seq"}: true, {"Message", "Deliveries"}: true, // see walk.message
	{"Message", "inline"}: true,                                                      // Data is in it, or is not
	{"letter", "seq"}:     true, {"letter", "above"}: true, {"letter", "upTo"}: true, // as Message.Seq
	{"File", "writer"}:    true,                            // see State
	{"request", "ticket"}: true, {"line", "tickets"}: true, // the order of the queue says it
	{"offers", "tickets"}: true, {"offers", "index"}: true, // likewise
}

// past are the times that are only told, or in bounds that the timers make sharp: when
// something comes due, a timer knows. Any other time counts from now, unless it is 0.
var past = map[field]bool{
	{"Message", "Sent"}: true, {"letter", "at"}: true, // see walk.message
	{"Mailbox", "changed"}: true, {"Mailbox", "taken"}: true, {"Mailbox", "nextExpiry"}: true, {"Mailbox", "nextLeaseEnd"}: true,
	{"Pipe", "changed"}: true, {"Pipe", "taken"}: true,
	{"Segment", "changed"}: true, {"Segment", "taken"}: true,
	{"Semaphore", "changed"}: true, {"Semaphore", "taken"}: true, {"Owner", "Since"}: true, {"Outcome", "At"}: true,
	{"Request", "Since"}: true,
}

// lengths are the times that are spans.
var lengths = map[field]bool{{"Mailbox", "ttl"}: true, {"Mailbox", "leaseTime"}: true}

var (
	messageType = reflect.TypeFor[mailbox.Message]()
	timeType    = reflect.TypeFor[objects.Time]()
	ledgerType  = reflect.TypeFor[objects.Ledger]()
	processType = reflect.TypeFor[*Process]()
	nodeType    = reflect.TypeFor[*Node]()
	fileType    = reflect.TypeFor[*File]()
	requestType = reflect.TypeFor[*objects.Request]()
	objectType  = reflect.TypeFor[objects.Object]()
	anyType     = reflect.TypeFor[any]()
)

// limits reports whether a policy of n that is max unless it is set decides anything.
func (n *Node) limits(policy string) bool {
	return n.Kind.HasPolicy(policy) && (slices.Contains(n.Settings, policy) || n.Object.Policy(policy) != "max")
}

// A walk adds whole structures to a hash. Pointers count as the place where what
// they point to was met first, so that equal structures at different addresses
// have equal hashes.
type walk struct {
	h     Hash
	seen  *places
	outer *walk // of the map that this is an entry of
	ways  *Ways

	now        objects.Time
	ages       bool     // how old messages are counts
	deliveries bool     // how often they have been delivered does
	seqs       []uint64 // numbers of the messages met in an object
}

// nowhere is where nil points to.
const nowhere = 1 << 62

// places number what was met. The table is used again for each walk: what was entered in an
// earlier round counts as empty.
type places struct {
	slots []place
	n     uint64
	round uint32
}

type place struct {
	at    unsafe.Pointer
	of    *layout
	n     uint64
	round uint32
}

// reset forgets what was met.
func (t *places) reset() {
	if t.slots == nil {
		t.slots = make([]place, 256)
	}
	t.n = 0
	t.round++
}

// slot is where at is, or where it is to be entered.
func (t *places) slot(at unsafe.Pointer, of *layout) *place {
	mask := uintptr(len(t.slots) - 1)
	for i := (uintptr(at)>>3 ^ uintptr(of.number)<<4) * 0x9e3779b1 >> 8; ; i++ {
		if s := &t.slots[i&mask]; s.round != t.round || s.at == at && s.of == of {
			return s
		}
	}
}

// enter numbers at.
func (t *places) enter(at unsafe.Pointer, of *layout) uint64 {
	if t.n*2 > uint64(len(t.slots)) {
		old := t.slots
		t.slots = make([]place, 2*len(old))
		for _, s := range old {
			if s.round == t.round {
				*t.slot(s.at, s.of) = s
			}
		}
	}
	n := t.n
	*t.slot(at, of) = place{at, of, n, t.round}
	t.n++
	return n
}

// meet reports whether at was met before, and adds where.
func (w *walk) meet(at unsafe.Pointer, of *layout) bool {
	if s := w.seen.slot(at, of); s.round == w.seen.round {
		w.h.Uint(s.n)
		return true
	}
	for o := w.outer; o != nil; o = o.outer {
		if s := o.seen.slot(at, of); s.round == o.seen.round {
			w.h.Uint(^s.n)
			return true
		}
	}
	w.h.Uint(w.seen.enter(at, of))
	return false
}

// A layout is how the memory of a type is added to a hash.
type layout struct {
	number int
	typ    reflect.Type
	kind   reflect.Kind
	size   uintptr
	elem   *layout // of a pointer, a slice, an array
	length int     // of an array
	name   uint64  // sums up the type's name
	fields []fieldLayout

	seq, sent, deliveries uintptr // of a message

	// The last type that an interface of this type held: mostly it is the next one, too.
	heldType reflect.Type
	held     *layout
}

type fieldLayout struct {
	offset uintptr
	how    way
	of     *layout
}

// Ways remember how types are added. They may serve many states, one after another. The
// zero value is ready for use.
type Ways struct {
	layouts map[reflect.Type]*layout
	seen    places

	file, object, any, node, request *layout // of what states are added from
}

// A way is how a field is added.
type way uint8

const (
	omitted way = iota
	counts
	span    // a time that is a length
	instant // a time that counts from now
	one     // a number of so many bytes
	four
	eight
)

// of is the layout of a type.
func (w *Ways) of(t reflect.Type) *layout {
	if l := w.layouts[t]; l != nil {
		return l
	}
	if w.layouts == nil {
		w.layouts = map[reflect.Type]*layout{}
	}
	l := &layout{number: len(w.layouts), typ: t, kind: t.Kind(), size: t.Size()}
	w.layouts[t] = l // it may refer to itself
	var name Hash
	name.String(t.String())
	l.name = name.sum
	switch l.kind {
	case reflect.Array:
		l.elem, l.length = w.of(t.Elem()), t.Len()
	case reflect.Slice:
		l.elem = w.of(t.Elem())
	case reflect.Pointer:
		if t != processType && t != nodeType {
			l.elem = w.of(t.Elem())
		}
	case reflect.Struct:
		w.ofFields(l)
	}
	return l
}

// plain is the way of a field of that kind.
func plain(k reflect.Kind) way {
	switch k {
	case reflect.Bool, reflect.Uint8, reflect.Int8:
		return one
	case reflect.Int32, reflect.Uint32:
		return four
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return eight
	}
	return counts
}

func (w *Ways) ofFields(l *layout) {
	for i := range l.typ.NumField() {
		f := l.typ.Field(i)
		name := field{l.typ.Name(), f.Name}
		how := counts
		switch isTime := f.Type == timeType; {
		case leftOut[name], isTime && past[name]:
			continue
		case isTime && lengths[name]:
			how = span
		case isTime:
			how = instant
		default:
			how = plain(f.Type.Kind())
		}
		l.fields = append(l.fields, fieldLayout{f.Offset, how, w.of(f.Type)})
	}
	if l.typ == messageType {
		offset := func(name string) uintptr {
			f, _ := l.typ.FieldByName(name)
			return f.Offset
		}
		l.seq, l.sent, l.deliveries = offset("Seq"), offset("Sent"), offset("Deliveries")
	}
}

// add adds what is at p, of the type t.
func (w *walk) add(p unsafe.Pointer, t reflect.Type) { w.value(p, w.ways.of(t)) }

func (w *walk) value(p unsafe.Pointer, l *layout) {
	switch l.kind {
	case reflect.Bool, reflect.Uint8:
		w.h.Uint(uint64(*(*uint8)(p)))
	case reflect.Int8:
		w.h.Uint(uint64(*(*int8)(p)))
	case reflect.Int16:
		w.h.Uint(uint64(*(*int16)(p)))
	case reflect.Int32:
		w.h.Uint(uint64(*(*int32)(p)))
	case reflect.Uint16:
		w.h.Uint(uint64(*(*uint16)(p)))
	case reflect.Uint32:
		w.h.Uint(uint64(*(*uint32)(p)))
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Uintptr:
		w.h.Uint(*(*uint64)(p))
	case reflect.String:
		w.h.String(*(*string)(p))
	case reflect.Slice:
		w.slice(p, l)
	case reflect.Array:
		for i := range l.length {
			w.value(unsafe.Add(p, uintptr(i)*l.elem.size), l.elem)
		}
	case reflect.Map:
		// Each entry on its own, so that their order does not matter.
		var sum uint64
		for e := reflect.NewAt(l.typ, p).Elem().MapRange(); e.Next(); {
			entry := walk{seen: &places{}, outer: w, ways: w.ways, now: w.now, ages: w.ages, deliveries: w.deliveries}
			entry.seen.reset()
			entry.copied(e.Key())
			entry.copied(e.Value())
			sum += entry.h.sum
		}
		w.h.Uint(sum)
	case reflect.Pointer:
		w.pointer(*(*unsafe.Pointer)(p), l)
	case reflect.Interface:
		v := reflect.NewAt(l.typ, p).Elem()
		w.h.Bool(v.IsNil())
		if v.IsNil() || l.typ == ledgerType {
			return
		}
		if t := v.Elem().Type(); t != l.heldType {
			l.heldType, l.held = t, w.ways.of(t)
		}
		of := l.held
		w.h.Uint(of.name)
		if of.kind == reflect.Pointer {
			w.pointer(v.Elem().UnsafePointer(), of)
			return
		}
		w.copied(v.Elem())
	case reflect.Struct:
		if !w.meet(p, l) {
			w.fields(p, l)
		}
	}
}

// copied adds a value that has no address.
func (w *walk) copied(v reflect.Value) {
	place := reflect.New(v.Type())
	place.Elem().Set(v)
	w.add(place.UnsafePointer(), v.Type())
}

func (w *walk) slice(p unsafe.Pointer, l *layout) {
	if l.elem.kind == reflect.Uint8 {
		b := *(*[]byte)(p)
		w.h.Uint(uint64(len(b)))
		w.h.Bytes(b)
		return
	}
	// The elements of no slice of another type than this are looked at as bytes.
	elements := *(*[]byte)(p)
	w.h.Uint(uint64(len(elements)))
	at := unsafe.Pointer(unsafe.SliceData(elements))
	for i := range len(elements) {
		w.value(unsafe.Add(at, uintptr(i)*l.elem.size), l.elem)
	}
}

func (w *walk) pointer(at unsafe.Pointer, l *layout) {
	switch {
	case at == nil:
		w.h.Uint(nowhere)
	case l.typ == processType:
		w.h.Uint(uint64((*Process)(at).Pid()))
	case l.typ == nodeType:
		w.h.String((*Node)(at).Name)
	case !w.meet(at, l.elem):
		w.fields(at, l.elem)
	}
}

func (w *walk) fields(p unsafe.Pointer, l *layout) {
	if l.kind != reflect.Struct {
		w.value(p, l)
		return
	}
	if l.typ == messageType {
		w.message(p, l)
	}
	for i := range l.fields {
		f := &l.fields[i]
		at := unsafe.Add(p, f.offset)
		switch f.how {
		case counts:
			w.value(at, f.of)
		case one:
			w.h.Uint(uint64(*(*uint8)(at)))
		case four:
			w.h.Uint(uint64(*(*uint32)(at)))
		case eight:
			w.h.Uint(*(*uint64)(at))
		case span:
			w.h.Uint(*(*uint64)(at))
		case instant:
			t := *(*objects.Time)(at)
			if w.h.Bool(t == 0); t != 0 {
				w.h.Uint(uint64(t - w.now))
			}
		}
	}
}

// message adds what of a message is a total, but decides something.
func (w *walk) message(p unsafe.Pointer, l *layout) {
	seq := *(*uint64)(unsafe.Add(p, l.seq))
	if w.ages && seq > 0 { // it was sent
		w.h.Uint(uint64(w.now - *(*objects.Time)(unsafe.Add(p, l.sent))))
	}
	if w.deliveries {
		w.h.Uint(uint64(*(*uint32)(unsafe.Add(p, l.deliveries))))
	}
	// A message that is returned goes where its number says.
	for _, earlier := range w.seqs {
		w.h.Bool(seq < earlier)
	}
	w.seqs = append(w.seqs, seq)
}

// process adds which process p is, if it counts.
func (w *walk) process(p *Process, counts bool) {
	if p == nil || !counts {
		w.h.Uint(nowhere)
		return
	}
	w.h.Uint(uint64(p.Pid()))
}

// State sums up all that decides what can happen from here on: equal states have equal
// futures. What is not named above counts. What a process does next is told by the Snapshot
// of its Program; of a coroutine, by what its calls have returned. What is added can be told apart from its
// beginning on: lengths come before what they are the lengths of, and nothing is left out
// that another state has.
func (k *Kernel) State() uint64 { return k.StateBy(&Ways{}) }

// StateBy is State with what was found out for others.
func (k *Kernel) StateBy(ways *Ways) uint64 {
	limits := func(policy string) bool {
		return slices.ContainsFunc(k.nodes, func(n *Node) bool { return n.limits(policy) })
	}
	ways.seen.reset()
	if ways.file == nil {
		ways.file, ways.object, ways.any = ways.of(fileType), ways.of(objectType), ways.of(anyType)
		ways.node, ways.request = ways.of(nodeType), ways.of(requestType)
	}
	w := walk{seen: &ways.seen, ways: ways, now: k.now, ages: limits("ttl"), deliveries: limits("max_deliveries")}
	// Open files first: they tell handles apart that are alike.
	for _, p := range k.processes {
		w.h.Uint(uint64(len(p.files)))
		for i, f := range p.files {
			w.value(unsafe.Pointer(&p.files[i]), ways.file)
			w.process(f.writer, f.uses > 1) // else it is who has the file, or does not matter
		}
	}
	seqs := make([][]uint64, len(k.nodes))
	for i, n := range k.nodes {
		w.seqs = nil
		w.value(unsafe.Pointer(&n.Object), ways.object)
		if n.monitor != nil {
			if s := n.monitor.State(); s != nil {
				w.value(unsafe.Pointer(&s), ways.any)
			}
		}
		w.h.Bool(n.gone)
		w.value(unsafe.Pointer(&n.forwarding), ways.node)
		seqs[i] = w.seqs
	}
	w.h.Uint(uint64(len(k.processes)))
	for _, p := range k.processes {
		w.h.Uint(uint64(p.state))
		for _, is := range []bool{p.killed, p.signal, p.doomed, p.last, p.woken} {
			w.h.Bool(is)
		}
		w.process(p.victim, true)
		if p.state == Exited && p.program != nil {
			continue
		}
		if p.program != nil {
			p.program.Snapshot(&w.h)
		}
		w.h.Uint(p.history.sum) // of who has exited the end of a run may be judged by it
		if p.woken {
			w.h.Uint(uint64(p.errno))
			if p.request != nil {
				w.seqs = seqs[slices.Index(k.nodes, p.file.Node)]
			}
			w.value(unsafe.Pointer(&p.request), ways.request)
		}
	}
	w.h.Uint(uint64(len(k.timers)))
	for _, t := range k.timers {
		w.h.Uint(uint64(t.when - k.now))
		w.process(t.process, true)
		w.value(unsafe.Pointer(&t.node), ways.node)
	}
	w.h.Uint(uint64(k.Faults.Kills))
	w.h.Uint(uint64(k.Faults.Signals))
	if k.Snapshot != nil {
		k.Snapshot(&w.h)
	}
	return w.h.sum
}
