package pipe

import (
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// version is that of saved.
const version = 1

// saved is the state of a pipe.
type saved struct {
	_                          struct{} `cbor:",toarray"`
	Capacity                   int64
	Overflow                   objects.Overflow
	Lifetime                   Lifetime
	Chunks                     []savedChunk
	Held                       int64
	OOB                        mailbox.Snapshot
	Readers, Openers           []objects.Saved // requests
	Writers                    []savedWrite
	Destroyed                  bool
	Changed, Taken             objects.Time
	Ends                       []objects.Saved // handles
	Files                      []savedFile
	Finished                   []savedRead
	OpenReaders, OpenWriters   int64
	ReaderOpens, WriterOpens   int64
	Written, Received, Dropped int64
}

type savedChunk struct {
	_    struct{} `cbor:",toarray"`
	Data []byte
	Cost int64
	Uid  uint32
	Mark bool
}

// savedWrite is a write that waits. Its bytes are at the end of a chunk, counted from 1.
type savedWrite struct {
	_       struct{} `cbor:",toarray"`
	Request objects.Saved
	Units   int64
	Chunk   int
}

// savedFile is an open file of the stream.
type savedFile struct {
	_              struct{} `cbor:",toarray"`
	Handle         objects.Saved
	AwaitsPeer     bool
	PeerGeneration int64
	Reading        objects.SavedReading
}

// savedRead is a read that has finished.
type savedRead struct {
	_        struct{} `cbor:",toarray"`
	Request  objects.Saved
	Consumed bool
	From     uint32
	Spans    []savedSpan
}

type savedSpan struct {
	_   struct{} `cbor:",toarray"`
	Uid uint32
	N   int
}

// Save implements objects.Saver. What is in buffers of the driver's is copied, and stays booked
// as before.
func (p *Pipe) Save(handles []*objects.Handle, finished []*objects.Request) objects.State {
	state := objects.State{Handles: handles, Requests: finished}
	x := saved{
		Capacity: p.capacity, Overflow: p.overflow, Lifetime: p.lifetime, Held: p.held,
		Destroyed: p.destroyed, Changed: p.changed, Taken: p.taken,
		OpenReaders: p.openReaders, OpenWriters: p.openWriters, ReaderOpens: p.readerOpens, WriterOpens: p.writerOpens,
		Written: p.written, Received: p.received, Dropped: p.dropped,
	}
	places := make(map[*chunk]int)
	for c := p.bytes.First(); c != nil; c = c.Next() {
		x.Chunks = append(x.Chunks, savedChunk{Data: c.data, Cost: c.cost, Uid: c.uid, Mark: c.mark})
		places[c] = len(x.Chunks)
	}
	place := func(r *objects.Request) objects.Saved { return objects.Place(&state.Requests, r) }
	for r := range p.readers.All() {
		x.Readers = append(x.Readers, place(r))
	}
	for r := range p.openers.All() {
		x.Openers = append(x.Openers, place(r))
	}
	for w := range p.writers.All() {
		t := transferOf(w)
		x.Writers = append(x.Writers, savedWrite{Request: place(w), Units: t.units, Chunk: places[t.chunk]})
	}
	for _, h := range p.ends {
		x.Ends = append(x.Ends, objects.Place(&state.Handles, h))
	}
	var messages []*objects.Handle
	for _, h := range handles {
		if !streams(h) {
			messages = append(messages, h)
			continue
		}
		f := savedFile{Handle: objects.Place(&state.Handles, h), AwaitsPeer: endOf(h).awaitsPeer, PeerGeneration: endOf(h).peerGeneration}
		f.Reading, _ = h.SaveReading()
		x.Files = append(x.Files, f)
	}
	var received []*objects.Request
	for _, r := range finished {
		if r.Op == objects.Send || r.Op == objects.Receive {
			received = append(received, r)
			continue
		}
		t := transferOf(r)
		f := savedRead{Request: place(r), Consumed: t.consumed, From: t.from}
		for _, s := range t.spans {
			f.Spans = append(f.Spans, savedSpan{Uid: s.uid, N: s.n})
		}
		x.Finished = append(x.Finished, f)
	}
	x.OOB = p.oob.Snapshot(&state, messages, received)
	state.Encode(version, x)
	return state
}

// load is Kind.Load.
func load(l objects.Ledger, state objects.State) (objects.Object, error) {
	var x saved
	if err := state.Decode(version, &x); err != nil {
		return nil, err
	}
	p := &Pipe{
		ledger: l, capacity: x.Capacity, overflow: x.Overflow, lifetime: x.Lifetime, held: x.Held,
		oob: mailbox.Restore(l, state, x.OOB), destroyed: x.Destroyed, changed: x.Changed, taken: x.Taken,
		openReaders: x.OpenReaders, openWriters: x.OpenWriters, readerOpens: x.ReaderOpens, writerOpens: x.WriterOpens,
		written: x.Written, received: x.Received, dropped: x.Dropped,
	}
	var chunks []*chunk
	for _, c := range x.Chunks {
		chunks = append(chunks, &chunk{data: c.Data, cost: c.Cost, uid: c.Uid, mark: c.Mark})
		p.bytes.push(chunks[len(chunks)-1])
	}
	for _, r := range x.Readers {
		p.readers.Park(objects.At(state.Requests, r))
	}
	for _, r := range x.Openers {
		p.openers.Park(objects.At(state.Requests, r))
	}
	for _, w := range x.Writers {
		r := objects.At(state.Requests, w.Request)
		*transferOf(r) = transfer{units: w.Units, chunk: chunks[w.Chunk-1]}
		p.writers.Park(r)
	}
	for _, h := range x.Ends {
		p.ends = append(p.ends, objects.At(state.Handles, h))
	}
	for _, f := range x.Files {
		h := objects.At(state.Handles, f.Handle)
		*endOf(h) = end{awaitsPeer: f.AwaitsPeer, peerGeneration: f.PeerGeneration}
		h.LoadReading(f.Reading, nil)
	}
	for _, f := range x.Finished {
		t := transferOf(objects.At(state.Requests, f.Request))
		*t = transfer{consumed: f.Consumed, from: f.From}
		for _, s := range f.Spans {
			t.spans = append(t.spans, span{uid: s.Uid, n: s.N})
		}
	}
	return p, nil
}
