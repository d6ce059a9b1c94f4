package fs

import (
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

func init() {
	present(presentation{
		kind: "mailbox",
		dir:  "mailboxes",
		flat: fileSpec{ops: &endpoint{reads: objects.Receive, writes: objects.Send, eof: true}},
		files: []fileSpec{
			{"send", 0o600, &endpoint{writes: objects.Send, reads: objects.Receipt, eof: true, answers: true, prepare: wantReceipts, render: receipt}},
			{"receive", 0o400, &endpoint{reads: objects.Receive, eof: true}},
			{"stream", 0o400, &endpoint{reads: objects.Receive}},
			{"peek", 0o400, &endpoint{reads: objects.Peek, eof: true}},
			{"urgent", 0o600, &endpoint{reads: objects.Receive, writes: objects.Send, eof: true,
				prepare: selects(mailbox.Selector{By: mailbox.ByUrgency})}},
			{"envelope", 0o400, &endpoint{reads: objects.Receive, eof: true, prepare: showsEnvelopes, render: envelope}},
			{"lease", 0o600, &endpoint{reads: objects.Lease, writes: objects.Settle, eof: true, answers: true, both: true}},
			command("flush", objects.Flush),
		},
		check:   map[string]policyCheck{"dead_letters": mayForward},
		forward: (*FS).forwardDeadLetters,
		folders: []folder{
			{name: "priority", mode: 0o700, own: true, member: priorityFile, names: priorities()},
			{name: "topic", mode: 0o700, member: topicFile, list: ofEachMessage(topic)},
			{name: "from", mode: 0o700, member: senderFile, list: ofEachMessage(sender)},
			messagesFolder,
		},
	})
}

// mailboxName is 0 for what a mailbox can be called, and for nothing.
func mailboxName(name string) syscall.Errno {
	if name == "" {
		return 0
	}
	if name == "." || name == ".." || strings.ContainsRune(name, '/') || validName(name) != 0 {
		return syscall.EINVAL // write(2): no value of this file
	}
	return 0
}

// selects narrows an endpoint to the messages that only selects.
func selects(only mailbox.Selector) func(h *objects.Handle) {
	return func(h *objects.Handle) { mailbox.FileOf(h).Filter = &only }
}

func showsEnvelopes(h *objects.Handle) { mailbox.FileOf(h).Envelopes = true }

// wantReceipts has a file that can be read and written tell how what was sent has fared.
func wantReceipts(h *objects.Handle) {
	if h.ReadOp == objects.Receipt {
		mailbox.FileOf(h).Receipts = true
	}
}

// labelled is an endpoint that is narrowed to one label.
func labelled(mode uint32, only mailbox.Selector) *fileSpec {
	return &fileSpec{mode: mode, ops: &endpoint{reads: objects.Receive, writes: objects.Send, eof: true, prepare: selects(only)}}
}

// mayForward is 0 if who may have the dead letters of o go to the mailbox called name.
// open(2), EACCES: who may not send there. It is asked again when they go, for the owner of o.
func mayForward(f *FS, o *object, who *identity, name string) syscall.Errno {
	if errno := mailboxName(name); errno != 0 {
		return errno
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if to := o.kind.objects[name]; to != nil && to != o && !to.maySendLocked(who) {
		return syscall.EACCES
	}
	return 0
}

// number reads the decimal number that a file is named after: as it is listed, without
// zeros in front.
func number(name string, bits int) (n uint64, ok bool) {
	n, err := strconv.ParseUint(name, 10, bits)
	return n, err == nil && strconv.FormatUint(n, 10) == name
}

func priorityFile(_ *object, name string) *fileSpec {
	n, ok := number(name, 8)
	if !ok || n >= mailbox.Priorities {
		return nil
	}
	return labelled(0o600, mailbox.Selector{By: mailbox.ByPriority, Priority: uint8(n)})
}

func priorities() []string {
	var names []string
	for n := range mailbox.Priorities {
		names = append(names, strconv.Itoa(n))
	}
	return names
}

func topicFile(_ *object, name string) *fileSpec {
	if !plain(name) || strings.ContainsFunc(name, unicode.IsSpace) {
		return nil
	}
	return labelled(0o666, mailbox.Selector{By: mailbox.ByTopic, Topic: name}) // as far as the folder's
}

func topic(m *mailbox.Message) string { return m.Topic }

func senderFile(_ *object, name string) *fileSpec {
	n, ok := number(name, 32)
	if !ok {
		return nil
	}
	return &fileSpec{mode: 0o444, ops: &endpoint{reads: objects.Receive, eof: true,
		prepare: selects(mailbox.Selector{By: mailbox.BySender, Sender: uint32(n)})}}
}

func sender(m *mailbox.Message) string { return strconv.FormatUint(uint64(m.Sender.Uid), 10) }
