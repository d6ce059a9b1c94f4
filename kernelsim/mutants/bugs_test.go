package mutants

// bugs are those that somebody has thought of: one of the mutants by its name, or what stands in the place
// of a node. They have to be found, whatever else survives.
var bugs = []struct {
	name   string
	mutant string
	bug    Bug
	text   string // what is changed
}{
	{name: "one message too many", mutant: "Mailbox.fits: less 1 other", text: "messages > 0"},
	{name: "senders push in", mutant: "Mailbox.admit: case 1 never", text: "a.ahead && b.overflow == objects.Block && !exempt"},
	{name: "too few are evicted", bug: Bug{"Mailbox.evictions: statement 3", "evicted = 1"}, text: "evicted++"},
	{name: "the last message first", bug: Bug{"Mailbox.store: statement 4", "b.held.insert(m, b.held.above(0))"}, text: "b.held.push(m, b.order.rank(m))"},
	{name: "room wakes no sender", mutant: "Mailbox.receive: statement 16 left out", text: "b.pump(now, &done)"},
	{name: "a returned message is last", bug: Bug{"Mailbox.restore: statement 4", "b.held.push(m, b.order.rank(m))"}, text: "b.held.putBack(m, b.order.rank(m))"},
	{name: "a cancelled send stays booked", mutant: "Mailbox.end: statement 5 left out", text: "b.withdraw(r)"},
	{name: "receivers do not select", bug: Bug{"Mailbox.heldFor: statement 4", "m = b.held.find(nil)"}, text: "m = b.held.find(FileOf(h).Filter)"},
	{name: "waiting receivers do not select", mutant: "line.firstFor: if 2 always", text: "r == nil || FileOf(r.Handle).Filter.admits(m)"},
	{name: "waiting senders are not selected", mutant: "offers.first: operand 1 left out", text: "only == nil"},
	{name: "a later message of its priority first", bug: Bug{"messageList.push: statement 8", "l.insert(m, l.above(rank))"}, text: "l.insert(m, l.ranks.ends[rank])"},
	{name: "the highest priority is dropped", bug: Bug{"messageList.oldestOf: statement 4", "return l.First()"}, text: "return l.above(last.rank).Next()"},
	{name: "a priority's end is forgotten", mutant: "messageList.remove: statement 6 left out", text: "l.ranks.ends[m.rank] = m.Prev()"},
	{name: "a new order leaves the messages", mutant: "messageList.reorder: if 1 never", text: "o == FIFO"},
	{name: "priorities do not count", bug: Bug{"Order.rank: case 2", "o > ByPriorities"}, text: "o == ByPriorities"},
	{name: "urgent messages wait in line", bug: Bug{"Order.rank: statement 2", "return 0"}, text: "return outOfBand"},
	{name: "every topic is the same", bug: Bug{"Selector.admits: statement 5", "return m.Topic != \"\""}, text: "return m.Topic == s.Topic"},
	{name: "the sender does not matter", bug: Bug{"Selector.admits: statement 6", "return true"}, text: "return m.Sender.Uid == s.Sender"},
	{name: "messages do not expire", bug: Bug{"Mailbox.expire: if 3", "at >= 0"}, text: "at == 0 || now < at"},
	{name: "only the first to expire does", mutant: "Mailbox.expire: statement 10 left out", text: "b.noteExpiry(m)"},
	{name: "messages expire too late", bug: Bug{"Mailbox.expiresAt: statement 3", "return m.Sent + b.ttl + b.ttl"}, text: "return m.Sent + b.ttl"},
	{name: "a line has no end", bug: Bug{"Framing.cut: statement 3", "return i + 1, i > 3"}, text: "return i + 1, true"},
	{name: "half a message is sent", mutant: "Mailbox.endBegun: if 2 never", text: "killed"},
	{name: "a message is sent without its end", mutant: "Mailbox.end: if 2 never", text: "spoils"},
	{name: "what is begun is taken back twice", bug: Bug{"Mailbox.unbegin: statement 8", "m.Data = m.Data[:of(r).begun-1]"}, text: "m.Data = m.Data[:of(r).begun]"},
	{name: "a single receiver is two", bug: Bug{"Mailbox.mayOpen: if 1", "receives(h) && b.others(h, receives) > 1"}, text: "receives(h) && b.others(h, receives) > 0"},
	{name: "a pair is three", bug: Bug{"Mailbox.mayOpen: if 2", "linked(h) && b.others(h, linked) > 2"}, text: "linked(h) && b.others(h, linked) > 1"},
	{name: "one takes what all are to get", bug: Bug{"Mailbox.senderFor: if 1", "b.receiving == Pair && !looks"}, text: "b.receiving == Broadcast && !looks"},
	{name: "who leaves holds a broadcast", mutant: "Mailbox.unsubscribe: statement 3 left out", text: "b.endShare(now, m, done)"},
	{name: "a broadcast is for the first", bug: Bug{"Mailbox.distribute: statement 2", "for h := range b.subscribers(m) { b.enqueue(h, m); break }"}, text: "for h := range b.subscribers(m) { b.enqueue(h, m) }"},
	{name: "a lease does not run out", bug: Bug{"Mailbox.endLeases: if 2", "!any || now >= 0"}, text: "!any || now < next.at"},
	{name: "the lease of the dead stays", mutant: "Mailbox.abandon: statement 11 left out", text: "b.endLease(now, h, &done)"},
	{name: "a returned lease is not counted", mutant: "Mailbox.endLease: statement 10 left out", text: "b.redelivered++"},
	{name: "an acknowledged message returns", bug: Bug{"Mailbox.settle: statement 16", "b.received++; b.returned(now, m, &done)"}, text: "b.retire(now, m, Received, r.Principal(), &done)"},
	{name: "a dead letter stays", bug: Bug{"Mailbox.endLease: statement 6", "if m.Deliveries++; int64(m.Deliveries) >= b.maxDeliveries && b.deadLetters != \"\" { b.enter(m, dead) }"}, text: "if m.Deliveries++; int64(m.Deliveries) >= b.maxDeliveries && b.deadLetters != \"\" { b.enter(m, dead) b.dead.push(m, 0) return }"},
	{name: "a receipt comes before its message is received", mutant: "Mailbox.expectReceipt: constant 1 turned round", text: "true"},
	{name: "a retired message stays booked", mutant: "Mailbox.retire: statement 2 left out", text: "m.refund(b.ledger)"},
	{name: "late waits push in", bug: Bug{"Semaphore.acquire: if 2", "moves(r).units <= s.value"}, text: "s.waiting.Empty() && moves(r).units <= s.value"},
	{name: "a hold keeps its unit", mutant: "Semaphore.release: statement 7 left out", text: "s.value++"},
	{name: "a post wakes nobody", mutant: "Semaphore.post: statement 9 left out", text: "s.pump(now, &done)"},
	{name: "returned units are lost", mutant: "Semaphore.Return: statement 6 left out", text: "s.value += moves(r).units"},
	{name: "returned bytes are last", bug: Bug{"Pipe.Return: statement 13", "p.bytes.push(c)"}, text: "p.bytes.pushFront(c)"},
	{name: "one byte too many", bug: Bug{"Pipe.room: statement 1", "return max(0, p.capacity-p.held+1)"}, text: "return max(0, p.capacity-p.held)"},
	{name: "who waits in open is not met", bug: Bug{"Pipe.open: if 9", "o != nil && (h.Reads && o.Handle.Writes)"}, text: "o != nil && (h.Reads && o.Handle.Writes || h.Writes && o.Handle.Reads)"},
	{name: "open waits for nobody", bug: Bug{"Pipe.open: if 8", "alone && p.destroyed"}, text: "connect && !r.Nonblock && alone && h.Reads != h.Writes"},
	{name: "O_NONBLOCK needs no reader", bug: Bug{"Pipe.open: if 2", "connect && r.Nonblock && false"}, text: "connect && r.Nonblock && h.Writes && !h.Reads && p.openReaders == 0"},
	{name: "a hole is no hole", bug: Bug{"Bytes.Punch: statement 2", "_ = n"}, text: "clear(m.b[offset:min(offset+n, m.Size())])"},
	{name: "writes go to the start", bug: Bug{"Bytes.WriteAt: statement 4", "return copy(m.b[min(offset, 1):], p), 0"}, text: "return copy(m.b[offset:], p), 0"},
}
