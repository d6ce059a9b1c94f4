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
func (h *Hash) String(s string) { h.Bytes([]byte(s)) }

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
}

// past are the times that are only told, or in bounds that the timers make sharp: when
// something comes due, a timer knows. Any other time counts from now, unless it is 0.
var past = map[field]bool{
	{"Message", "Sent"}: true, {"letter", "at"}: true, // see walk.message
	{"Mailbox", "changed"}: true, {"Mailbox", "taken"}: true, {"Mailbox", "nextExpiry"}: true, {"Mailbox", "nextLeaseEnd"}: true,
	{"Pipe", "changed"}: true, {"Pipe", "taken"}: true,
	{"Segment", "changed"}: true, {"Segment", "taken"}: true,
	{"Semaphore", "changed"}: true, {"Semaphore", "taken"}: true, {"Owner", "Since"}: true,
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
)

// limits reports whether a policy of n that is max unless it is set decides anything.
func (n *Node) limits(policy string) bool {
	return slices.Contains(n.Kind.Policies, policy) && (slices.Contains(n.Settings, policy) || n.Object.Policy(policy) != "max")
}

// A walk adds whole structures to a hash. Pointers count as the place where what
// they point to was met first, so that equal structures at different addresses
// have equal hashes.
type walk struct {
	h     Hash
	seen  map[place]uint64
	outer *walk // of the map that this is an entry of
	ways  Ways

	now        objects.Time
	ages       bool     // how old messages are counts
	deliveries bool     // how often they have been delivered does
	seqs       []uint64 // numbers of the messages met in an object
}

// nowhere is where nil points to.
const nowhere = 1 << 62

type place struct {
	at  unsafe.Pointer
	typ reflect.Type
}

// meet reports whether v was met before, and adds where.
func (w *walk) meet(p place) bool {
	n, met := w.seen[p]
	for o := w.outer; o != nil && !met; o = o.outer {
		n, met = o.seen[p]
		n = ^n
	}
	if !met {
		n = uint64(len(w.seen))
		w.seen[p] = n
	}
	w.h.Uint(n)
	return met
}

func (w *walk) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		w.h.Bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.h.Uint(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.h.Uint(v.Uint())
	case reflect.String:
		w.h.String(v.String())
	case reflect.Slice:
		w.h.Uint(uint64(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			w.h.Bytes(v.Bytes())
			return
		}
		for i := range v.Len() {
			w.value(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			w.value(v.Index(i))
		}
	case reflect.Map:
		// Each entry on its own, so that their order does not matter.
		var sum uint64
		for e := v.MapRange(); e.Next(); {
			entry := walk{seen: map[place]uint64{}, outer: w, ways: w.ways, now: w.now, ages: w.ages, deliveries: w.deliveries}
			entry.value(e.Key())
			entry.value(e.Value())
			sum += entry.h.sum
		}
		w.h.Uint(sum)
	case reflect.Pointer:
		switch {
		case v.IsNil():
			w.h.Uint(nowhere)
		case v.Type() == processType:
			w.h.Uint(uint64((*Process)(v.UnsafePointer()).Pid()))
		case v.Type() == nodeType:
			w.h.String((*Node)(v.UnsafePointer()).Name)
		case !w.meet(place{v.UnsafePointer(), v.Type().Elem()}):
			w.fields(v.Elem())
		}
	case reflect.Interface:
		w.h.Bool(v.IsNil())
		if !v.IsNil() && v.Type() != ledgerType {
			w.h.String(v.Elem().Type().String())
			w.value(v.Elem())
		}
	case reflect.Struct:
		if v.CanAddr() && w.meet(place{v.Addr().UnsafePointer(), v.Type()}) {
			return
		}
		w.fields(v)
	}
}

func (w *walk) fields(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		w.value(v)
		return
	}
	t := v.Type()
	if t == messageType {
		w.message(v)
	}
	for i, how := range w.ways.of(t) {
		switch how {
		case counts:
			w.value(v.Field(i))
		case span:
			w.h.Uint(uint64(v.Field(i).Int()))
		case instant:
			at := v.Field(i).Int()
			if w.h.Bool(at == 0); at != 0 {
				w.h.Uint(uint64(at - int64(w.now)))
			}
		}
	}
}

// Ways remember how the fields of types are added. One may serve many states, one after
// another.
type Ways map[reflect.Type][]way

// A way is how a field is added.
type way uint8

const (
	omitted way = iota
	counts
	span    // a time that is a length
	instant // a time that counts from now
)

func (w Ways) of(t reflect.Type) []way {
	all, known := w[t]
	if !known {
		for i := range t.NumField() {
			f := field{t.Name(), t.Field(i).Name}
			how := counts
			switch isTime := t.Field(i).Type == timeType; {
			case leftOut[f], isTime && past[f]:
				how = omitted
			case isTime && lengths[f]:
				how = span
			case isTime:
				how = instant
			}
			all = append(all, how)
		}
		w[t] = all
	}
	return all
}

// message adds what of a message is a total, but decides something.
func (w *walk) message(v reflect.Value) {
	seq := v.FieldByName("Seq").Uint()
	if w.ages && seq > 0 { // it was sent
		w.h.Uint(uint64(int64(w.now) - v.FieldByName("Sent").Int()))
	}
	if w.deliveries {
		w.h.Uint(v.FieldByName("Deliveries").Uint())
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
func (k *Kernel) State() uint64 { return k.StateBy(Ways{}) }

// StateBy is State with what was found out for others.
func (k *Kernel) StateBy(ways Ways) uint64 {
	limits := func(policy string) bool {
		return slices.ContainsFunc(k.nodes, func(n *Node) bool { return n.limits(policy) })
	}
	w := walk{seen: make(map[place]uint64, 64), ways: ways, now: k.now, ages: limits("ttl"), deliveries: limits("max_deliveries")}
	// Open files first: they tell handles apart that are alike.
	for _, p := range k.processes {
		w.h.Uint(uint64(len(p.files)))
		for _, f := range p.files {
			w.value(reflect.ValueOf(f))
			w.process(f.writer, f.uses > 1) // else it is who has the file, or does not matter
		}
	}
	seqs := map[*Node][]uint64{}
	for _, n := range k.nodes {
		w.seqs = nil
		w.value(reflect.ValueOf(n.Object))
		if n.monitor != nil {
			if s := n.monitor.State(); s != nil {
				w.value(reflect.ValueOf(s))
			}
		}
		w.h.Bool(n.gone)
		w.value(reflect.ValueOf(&n.forwarding).Elem())
		seqs[n] = w.seqs
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
				w.seqs = seqs[p.file.Node]
			}
			w.value(reflect.ValueOf(&p.request).Elem())
		}
	}
	w.h.Uint(uint64(len(k.timers)))
	for _, t := range k.timers {
		w.h.Uint(uint64(t.when - k.now))
		w.process(t.process, true)
		w.value(reflect.ValueOf(&t.node).Elem())
	}
	w.h.Uint(uint64(k.Faults.Kills))
	w.h.Uint(uint64(k.Faults.Signals))
	if k.Snapshot != nil {
		k.Snapshot(&w.h)
	}
	return w.h.sum
}
