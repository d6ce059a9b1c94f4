package fs

import (
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"ipcfs/objects"
)

func init() {
	present(presentation{
		kind: "mailbox",
		dir:  "mailboxes",
		flat: fileSpec{ops: &endpoint{reads: objects.Receive, writes: objects.Send, eof: true}},
		files: []fileSpec{
			{"send", 0o600, &endpoint{writes: objects.Send, reads: objects.Receipt, eof: true, answers: true}},
			{"receive", 0o400, &endpoint{reads: objects.Receive, eof: true}},
			{"stream", 0o400, &endpoint{reads: objects.Receive}},
			{"peek", 0o400, &endpoint{reads: objects.Peek, eof: true}},
			{"urgent", 0o600, &endpoint{reads: objects.Receive, writes: objects.Send, eof: true,
				only: &objects.Selector{By: objects.ByUrgency}}},
			{"envelope", 0o400, &endpoint{reads: objects.Receive, eof: true, render: envelope}},
			{"lease", 0o600, &endpoint{reads: objects.Lease, writes: objects.Settle, eof: true, answers: true, both: true}},
			command("flush", objects.Flush),
		},
		check: map[string]policyCheck{"dead_letters": mayForward},
		folders: []folder{
			{name: "priority", mode: 0o700, own: true, member: priorityFile, names: priorities()},
			{name: "topic", mode: 0o700, member: topicFile, label: topic},
			{name: "from", mode: 0o700, member: senderFile, label: sender},
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
		return syscall.EINVAL
	}
	return 0
}

// labelled is an endpoint that is narrowed to one label.
func labelled(mode uint32, only objects.Selector) *fileSpec {
	return &fileSpec{mode: mode, ops: &endpoint{reads: objects.Receive, writes: objects.Send, eof: true, only: &only}}
}

// mayForward is 0 if who may have the dead letters of o go to the mailbox called name.
// EACCES: who may not send there. It is asked again when they go, for the owner of o.
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
	if !ok || n >= objects.Priorities {
		return nil
	}
	return labelled(0o600, objects.Selector{By: objects.ByPriority, Priority: uint8(n)})
}

func priorities() []string {
	var names []string
	for n := range objects.Priorities {
		names = append(names, strconv.Itoa(n))
	}
	return names
}

func topicFile(_ *object, name string) *fileSpec {
	if !plain(name) || strings.ContainsFunc(name, unicode.IsSpace) {
		return nil
	}
	return labelled(0o666, objects.Selector{By: objects.ByTopic, Topic: name}) // as far as the folder's
}

func topic(m *objects.Message) string { return m.Topic }

func senderFile(_ *object, name string) *fileSpec {
	n, ok := number(name, 32)
	if !ok {
		return nil
	}
	return &fileSpec{mode: 0o444, ops: &endpoint{reads: objects.Receive, eof: true,
		only: &objects.Selector{By: objects.BySender, Sender: uint32(n)}}}
}

func sender(m *objects.Message) string { return strconv.FormatUint(uint64(m.Sender.Uid), 10) }
