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
		flat: spec{read: objects.Receive, write: objects.Send, eof: true},
		files: []spec{
			{name: "send", mode: 0o600, write: objects.Send, read: objects.Receipt, eof: true, answers: true},
			{name: "receive", mode: 0o400, read: objects.Receive, eof: true},
			{name: "stream", mode: 0o400, read: objects.Receive},
			{name: "peek", mode: 0o400, read: objects.Peek, eof: true},
			{name: "urgent", mode: 0o600, read: objects.Receive, write: objects.Send, eof: true,
				only: &objects.Selector{By: objects.ByUrgency}},
			{name: "envelope", mode: 0o400, read: objects.Receive, eof: true, render: envelope},
			{name: "lease", mode: 0o600, read: objects.Lease, write: objects.Settle, eof: true, answers: true, both: true},
			{name: "flush", mode: 0o200, set: command(objects.Flush)},
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
func labelled(only objects.Selector) *spec {
	return &spec{mode: 0o600, read: objects.Receive, write: objects.Send, eof: true, only: &only}
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

func priorityFile(_ *object, name string) *spec {
	n, ok := number(name, 8)
	if !ok || n >= objects.Priorities {
		return nil
	}
	return labelled(objects.Selector{By: objects.ByPriority, Priority: uint8(n)})
}

func priorities() []string {
	var names []string
	for n := range objects.Priorities {
		names = append(names, strconv.Itoa(n))
	}
	return names
}

func topicFile(_ *object, name string) *spec {
	if !plain(name) || strings.ContainsFunc(name, unicode.IsSpace) {
		return nil
	}
	s := labelled(objects.Selector{By: objects.ByTopic, Topic: name})
	s.mode = 0o666 // as far as the folder's
	return s
}

func topic(m *objects.Message) string { return m.Topic }

func senderFile(_ *object, name string) *spec {
	n, ok := number(name, 32)
	if !ok {
		return nil
	}
	return &spec{name: name, mode: 0o444, read: objects.Receive, eof: true,
		only: &objects.Selector{By: objects.BySender, Sender: uint32(n)}}
}

func sender(m *objects.Message) string { return strconv.FormatUint(uint64(m.Sender.Uid), 10) }
