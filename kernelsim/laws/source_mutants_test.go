package laws

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ipcfs/objects"
)

var sourceMutants = flag.Bool("mutants", false, "build objects with deliberate bugs and let the laws find them")

// TestLawsFindBugsInTheSource builds package objects with one line changed at a time.
func TestLawsFindBugsInTheSource(t *testing.T) {
	if !*sourceMutants {
		t.Skip("builds the tests once for each bug: run with -mutants")
	}
	for _, m := range []struct{ name, file, old, new string }{
		{"one message too many", "mailbox_admit.go", "return messages > 0 && n <= bytes", "return messages >= 0 && n <= bytes"},
		{"senders push in", "mailbox_admit.go", "case a.ahead && b.overflow == Block && !exempt:", "case a.ahead && exempt && !exempt:"},
		{"too few are evicted", "mailbox_admit.go", "\t\tevicted++\n", "\t\tevicted = 1\n"},
		{"the last message first", "mailbox_store.go", "\tb.held.push(m, b.order.rank(m))\n", "\tb.held.insert(m, b.held.above(0))\n"},
		{"room wakes no sender", "mailbox_receive.go", "b.deliver(now, r, m, &done)\n\t\t}\n\t\tb.pump(now, &done)\n", "b.deliver(now, r, m, &done)\n\t\t}\n"},
		{"a returned message is last", "mailbox_store.go", "b.held.putBack(m, b.order.rank(m))\n", "b.held.push(m, b.order.rank(m))\n"},
		{"a cancelled send stays booked", "mailbox_send.go", "\tb.withdraw(r)\n\tif spoils {", "\tif spoils {"},
		{"receivers do not select", "mailbox_dispatch.go", "case b.shared == 0:\n\t\tm = b.held.find(h.Filter)", "case b.shared == 0:\n\t\tm = b.held.find(nil)"},
		{"waiting receivers do not select", "mailbox_index.go", "if r == nil || r.Handle.Filter.admits(m) {", "if true {"},
		{"waiting senders are not selected", "mailbox_dispatch.go", "s.message.share != nil && !looks || !only.admits(s.message) {", "s.message.share != nil && !looks {"},
		{"a later message of its priority first", "message.go", "l.insert(m, l.ranks.ends[rank])", "l.insert(m, l.above(rank))"},
		{"the highest priority is dropped", "message.go", "return l.above(last.rank).next", "return l.first"},
		{"a priority's end is forgotten", "message.go", "l.ranks.ends[m.rank] = m.prev\n", ""},
		{"a new order leaves the messages", "message.go", "if o == FIFO {", "if false {"},
		{"priorities do not count", "selector.go", "case o == ByPriorities:", "case o > ByPriorities:"},
		{"urgent messages wait in line", "selector.go", "return outOfBand\n", "return 0\n"},
		{"every topic is the same", "selector.go", "return m.Topic == s.Topic", "return m.Topic != \"\""},
		{"the sender does not matter", "selector.go", "return m.Sender.Uid == s.Sender", "return true"},
		{"messages do not expire", "mailbox_expiry.go", "b.expiresAt(m); at == 0 || now < at {", "b.expiresAt(m); at >= 0 {"},
		{"only the first to expire does", "mailbox_expiry.go", "\t\t\tb.noteExpiry(m)\n", ""},
		{"messages expire too late", "mailbox_expiry.go", "return m.Sent + b.ttl", "return m.Sent + b.ttl + b.ttl"},
		{"a line has no end", "mailbox_framing.go", "return i + 1, true", "return i + 1, i > 3"},
		{"half a message is sent", "mailbox_framing.go", "\tif killed {", "\tif false {"},
		{"a message is sent without its end", "mailbox_send.go", "\tif spoils {", "\tif false {"},
		{"what is begun is taken back twice", "mailbox_framing.go", "m.Data = m.Data[:r.begun]", "m.Data = m.Data[:r.begun-1]"},
		{"a single receiver is two", "mailbox_receivers.go", "b.others(h, (*Handle).receives) > 0", "b.others(h, (*Handle).receives) > 1"},
		{"a pair is three", "mailbox_receivers.go", "b.others(h, linked) > 1", "b.others(h, linked) > 2"},
		{"one takes what all are to get", "mailbox_dispatch.go", "b.receiving == Broadcast && !looks", "b.receiving == Pair && !looks"},
		{"who leaves holds a broadcast", "mailbox_broadcast.go", "m.share.owed--\n\t\tb.endShare(now, m, done)", "m.share.owed--"},
		{"a broadcast is for the first", "mailbox_broadcast.go", "\t\tb.enqueue(h, m)\n", "\t\tb.enqueue(h, m)\n\t\tbreak\n"},
		{"a lease does not run out", "mailbox_lease.go", "s.ends == 0 || now < s.ends {", "s.ends >= 0 {"},
		{"the lease of the dead stays", "mailbox_lease.go", "\t\tb.endLease(now, h, &done)\n\t\th.ensureState", "\t\th.ensureState"},
		{"a returned lease is not counted", "mailbox_lease.go", "b.redelivered++\n\tb.returned", "b.returned"},
		{"an acknowledged message returns", "mailbox_lease.go", "\t\tb.retire(now, m, Received, r.principal(), &done)\n", "\t\tb.received++\n\t\tb.returned(now, m, &done)\n"},
		{"a dead letter stays", "mailbox_lease.go", "b.dead.push(m, 0)\n\t\treturn", "_ = m"},
		{"a receipt comes before its message is received", "mailbox_receipt.go", "s.last, s.pending, s.receipt = m.extra, true, nil", "s.last, s.pending, s.receipt = m.extra, false, nil"},
		{"a retired message stays booked", "mailbox_retire.go", "\tm.refund(b.ledger)\n", ""},
		{"late waits push in", "semaphore.go", "if s.waiting.empty() && r.units <= s.value {", "if r.units <= s.value {"},
		{"a hold keeps its unit", "semaphore.go", "\t\ts.value++\n", ""},
		{"a post wakes nobody", "semaphore.go", "s.pump(now, &done)\n\tdone.add(r)\n", "done.add(r)\n"},
		{"returned units are lost", "semaphore.go", "s.value += r.units\n\ts.tookUnits -= r.units\n", "s.tookUnits -= r.units\n"},
		{"returned bytes are last", "pipe.go", "p.bytes.pushFront(c)", "p.bytes.push(c)"},
		{"one byte too many", "pipe.go", "return max(0, p.capacity-p.held)", "return max(0, p.capacity-p.held+1)"},
		{"who waits in open is not met", "pipe.go", "h.Reads && o.Handle.Writes || h.Writes && o.Handle.Reads", "h.Reads && o.Handle.Writes"},
		{"open waits for nobody", "pipe.go", "if connect && !r.Nonblock && alone && h.Reads != h.Writes {", "if alone && p.destroyed {"},
		{"O_NONBLOCK needs no reader", "pipe.go", "h.Writes && !h.Reads && p.openReaders == 0 {", "false {"},
		{"a hole is no hole", "segment.go", "clear(m.b[offset:min(offset+n, m.Size())])", "_ = n"},
		{"writes go to the start", "segment.go", "copy(m.b[offset:], p), 0", "copy(m.b[min(offset, 1):], p), 0"},
	} {
		t.Run(m.name, func(t *testing.T) {
			path, err := filepath.Abs(filepath.Join("..", "..", "objects", m.file))
			if err != nil {
				t.Fatal(err)
			}
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%s has %q %d times: the bug needs a new place", m.file, m.old, n)
			}
			dir := t.TempDir()
			changed := filepath.Join(dir, m.file)
			if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
			if err != nil {
				t.Fatal(err)
			}
			list := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			kind := strings.TrimSuffix(m.file, ".go")
			if !slices.ContainsFunc(objects.Kinds(), func(k objects.Kind) bool { return k.Name == kind }) {
				kind = "mailbox" // a part of it
			}
			out, err := exec.Command("go", "test", "-vet=off", "-overlay", list,
				"-run", "^TestLawsHoldInRandomRuns$/^"+kind+"$", ".", "-seeds", "50000").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "seed ") {
				t.Fatalf("no law notices: %v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "seed ") {
					t.Log(strings.TrimSpace(line))
					break
				}
			}
		})
	}
}
