package fs

import (
	"iter"
	"strconv"
	"syscall"
	"time"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// messagesFolder shows each message that a mailbox holds as a file: reading it takes
// nothing, unlink(2) discards it, and rename(2) into another such folder sends it there.
var messagesFolder = folder{
	name: "messages", mode: 0o700, member: messageFile, list: ofEachMessage(sequenceNumber), unique: true,
	remove: discardMessage, move: transferMessage, leave: receiveSegment, adopt: sendSegment,
}

// message returns the message that is called name, nil if it is not held. No lock is held.
func (o *object) message(name string) *mailbox.Message {
	seq, ok := number(name, 64)
	if !ok {
		return nil
	}
	o.numberMessages()
	o.lock()
	defer o.mu.Unlock()
	return o.impl.(*mailbox.Mailbox).Message(seq)
}

// numberMessages readies the mailbox o for its messages being looked for by their numbers,
// in steps: the first time takes 100 ms where a million are held. No lock is held.
func (o *object) numberMessages() {
	for !o.numberSome() {
		if o.fs.conn != nil {
			o.fs.conn.Yield()
		}
	}
}

func (o *object) numberSome() (all bool) {
	o.lock()
	defer o.mu.Unlock()
	return o.impl.(*mailbox.Mailbox).Number(batch)
}

// messageFile is a file as its sender left it: theirs, and of the time it was sent. Who
// may search the folder may read it. ls(1) shows the set-user-ID bit of one that was
// written by another user than the one it belongs to; it cannot be executed.
func messageFile(o *object, name string) *fileSpec {
	m := o.message(name)
	if m == nil {
		return nil
	}
	return &fileSpec{mode: 0o444, ops: &messageOps{
		name: name, seq: m.Seq, sender: m.Sender, deputy: m.Writer() != nil,
		sent: wall.at(m.Sent), size: m.Size(), memory: m.Size() != int64(len(m.Data)),
	}}
}

// A messageOps is a message that a mailbox holds as a file: itself, rather than a way to its
// object. It may have been received since.
type messageOps struct {
	name   string
	seq    uint64
	sender objects.Caller
	deputy bool // another user has written it
	sent   time.Time
	size   int64
	memory bool // its bytes are a segment that was sent whole
}

func (x *messageOps) openable(flags uint32) syscall.Errno { return openableAs(true, false, flags) }

func (x *messageOps) attr(_ *file, out *fuse.Attr) {
	out.Uid, out.Gid, out.Size = x.sender.Uid, x.sender.Gid, uint64(x.size)
	if x.deputy {
		out.Mode |= syscall.S_ISUID // with another user's rights than its own
	}
	out.SetTimes(&x.sent, &x.sent, &x.sent)
}

func (x *messageOps) textToOpen(o *object) ([]byte, syscall.Errno) {
	m := o.message(x.name)
	switch {
	case m == nil:
		return nil, syscall.ENOENT
	case m.Data == nil: // readMemory reads it
		return []byte{}, 0
	}
	return m.Data, 0 // which does not change, and may be in the kernel's pages
}

func (x *messageOps) read(f *FS, c *fusedev.Conn, h *handle, in *fuse.ReadIn) {
	switch errno := f.disowned(h); {
	case x.memory:
		x.readMemory(c, h, in)
	case errno != 0:
		c.Reply(in.Unique, errno)
	default:
		c.ReplyData(in.Unique, part(*h.text, in.Offset, in.Size))
	}
}

// readMemory answers a READ of a message that is memory, as long as the mailbox holds it.
// EIDRM: no longer.
func (x *messageOps) readMemory(c *fusedev.Conn, h *handle, in *fuse.ReadIn) {
	buf := buffers.Get().(*[fusedev.MaxRead]byte)
	defer buffers.Put(buf)
	n, errno := x.readAt(h.file.object, buf[:min(in.Size, fusedev.MaxRead)], int64(in.Offset))
	if errno != 0 {
		c.Reply(in.Unique, errno)
		return
	}
	c.ReplyData(in.Unique, buf[:n])
}

func (x *messageOps) readAt(o *object, p []byte, offset int64) (int, syscall.Errno) {
	o.lock()
	defer o.mu.Unlock()
	m := o.impl.(*mailbox.Mailbox).Message(x.seq)
	if m == nil {
		return 0, syscall.EIDRM
	}
	return m.ReadAt(p, offset)
}

func sequenceNumber(m *mailbox.Message) string { return strconv.FormatUint(m.Seq, 10) }

// mayTakeLocked is 0 if uid may take the message m, nil if there is none, out of d. EPERM, as
// for other names: neither its sender, nor the owner of the folder, nor privileged.
func (d *folderDir) mayTakeLocked(uid uint32, m *mailbox.Message) syscall.Errno {
	switch {
	case m == nil:
		return syscall.ENOENT
	case uid != 0 && uid != d.uid && uid != m.Sender.Uid:
		return syscall.EPERM
	}
	return 0
}

// mayTake is 0 if uid may take the message called name out of d. No lock is held.
func (f *FS) mayTake(d *folderDir, uid uint32, name string) syscall.Errno {
	m := d.object.message(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	return d.mayTakeLocked(uid, m)
}

func discardMessage(f *FS, d *folderDir, uid uint32, name string) syscall.Errno {
	if errno := f.mayTake(d, uid, name); errno != 0 {
		return errno
	}
	seq, _ := number(name, 64)
	var errno syscall.Errno
	f.withObject(d.object, func(now objects.Time) (done objects.Finished) {
		done, errno = d.object.impl.(*mailbox.Mailbox).Discard(now, seq)
		return done
	})
	f.left(d, name)
	return errno
}

// transferMessage sends the message called name to the mailbox of another folder, where
// it gets the next number, whatever it was to be called.
func transferMessage(f *FS, d, to *folderDir, who *identity, name string) syscall.Errno {
	errno := f.mayTake(d, who.Uid, name)
	if errno == 0 {
		errno = f.maySend(to.object, who)
	}
	if errno != 0 {
		return errno
	}
	if d == to {
		return syscall.EPERM // the numbers are the mailbox's to give
	}
	seq, _ := number(name, 64)
	f.between(d.object, to.object, func(now objects.Time, from, to *mailbox.Mailbox) (left, arrived objects.Finished) {
		left, arrived, errno = mailbox.Transfer(now, from, to, seq)
		return left, arrived
	})
	if errno == 0 {
		f.left(d, name)
	}
	return errno
}

// between calls move with the mailboxes x and y, which are not the same.
func (f *FS) between(x, y *object, move func(now objects.Time, x, y *mailbox.Mailbox) (left, arrived objects.Finished)) {
	left, arrived := f.lockedBoth(x, y, func(now objects.Time) (left, arrived objects.Finished) {
		return move(now, x.impl.(*mailbox.Mailbox), y.impl.(*mailbox.Mailbox))
	})
	f.conclude(arrived)
	f.conclude(left)
}

// forwardDeadLetters moves what o has for the dead letters to that mailbox.
func (f *FS) forwardDeadLetters(o *object) {
	to := f.deadLettersOf(o)
	if to != nil && to != o {
		f.between(o, to, mailbox.Forward)
		return
	}
	f.withObject(o, func(now objects.Time) objects.Finished {
		done, _ := mailbox.Forward(now, o.impl.(*mailbox.Mailbox), nil)
		return done
	})
}

// deadLettersOf is the mailbox for the dead letters of o, nil if there is none, or none
// that the owner of o may send to. Of groups that of o counts: which others the owner is
// in nobody knows who is not there.
func (f *FS) deadLettersOf(o *object) *object {
	name := look(o, func(impl objects.Object) string {
		name, _ := impl.(*mailbox.Mailbox).DeadLetters()
		return name
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	to := o.kind.objects[name]
	i := o.entry().base()
	if to == nil || !to.maySendLocked(&identity{Caller: objects.Caller{Uid: i.uid, Gid: i.gid}}) {
		return nil
	}
	return to
}

// ofEachMessage is folder.list of what name gives for the messages that a mailbox holds, "" for
// nothing.
func ofEachMessage(name func(m *mailbox.Message) string) func(o *object, after uint64) iter.Seq2[uint64, string] {
	return func(o *object, after uint64) iter.Seq2[uint64, string] {
		return func(yield func(uint64, string) bool) {
			for place, m := range o.messages(after) {
				if !yield(place, name(m)) {
					return
				}
			}
		}
	}
}

// messages yields what the mailbox o holds behind that place, with the places. Nothing
// is locked while it yields, and each message that stays comes exactly once, unless a
// change of order moves it.
func (o *object) messages(after uint64) iter.Seq2[uint64, *mailbox.Message] {
	type placed struct {
		place uint64
		*mailbox.Message
	}
	return func(yield func(uint64, *mailbox.Message) bool) {
		for {
			if after > 0 { // which is looked for by its number
				o.numberMessages()
			}
			some := make([]placed, 0, batch)
			func() {
				o.lock()
				defer o.mu.Unlock()
				for place, m := range o.impl.(*mailbox.Mailbox).MessagesAfter(after) {
					if some = append(some, placed{place, m}); len(some) == batch {
						break
					}
				}
			}()
			for _, m := range some {
				if !yield(m.place, m.Message) {
					return
				}
				after = m.place
			}
			if len(some) < batch {
				return
			}
		}
	}
}
