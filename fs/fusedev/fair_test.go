package fusedev

import (
	"maps"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// slowly answers the reads of user 1 after a while.
type slowly struct {
	parker
	takes time.Duration
}

func (s slowly) ServeRead(c *Conn, in *fuse.ReadIn) {
	if in.Uid == 1 {
		time.Sleep(s.takes) // it stands for work
	}
	c.Reply(in.Unique, 0)
}

func (s slowly) ServeWrite(c *Conn, in *fuse.WriteIn, data []byte) {
	c.ReplyWrite(in.Unique, len(data))
}

func (k *kernel) readBy(uid uint32, unique uint64) { k.readAt(uid, unique, 0) }

func (k *kernel) readAt(uid uint32, unique, offset uint64) {
	in := fuse.ReadIn{Size: 4096, Offset: offset}
	in.Opcode, in.Unique, in.Uid = opRead, unique, uid
	k.send(unsafe.Pointer(&in), unsafe.Sizeof(in))
}

func (k *kernel) answers(unique uint64, errno syscall.Errno) {
	k.t.Helper()
	if out := k.reply(); out.Unique != unique || out.Status != -int32(errno) {
		k.t.Errorf("got %+v, want the answer %v to %d", out, errno, unique)
	}
}

// In the tests below the requests are there before they are read, so that how long a test
// takes to send them does not count.

func TestUserWhoIsAheadWaitsForTheOther(t *testing.T) {
	k, c := connect(t, slowly{takes: 8 * time.Millisecond})
	defer k.hangUp()
	k.readBy(1, 10)
	k.answers(10, 0)
	c.turns.mu.Lock()
	if n := len(c.turns.accounts); n != 0 {
		t.Errorf("%d users have accounts beside one who is alone, want 0", n)
	}
	c.turns.mu.Unlock()
	k.readBy(2, 11) // from here on there are two
	k.readBy(1, 12)
	k.readBy(1, 13) // is late, and 14 of a third overtakes it
	k.readBy(3, 14)
	for _, unique := range []uint64{11, 12, 14, 13} {
		k.answers(unique, 0)
	}
}

// parksBehind parks the reads behind the start of a file.
type parksBehind struct{ slowly }

func (s parksBehind) ServeRead(c *Conn, in *fuse.ReadIn) {
	if in.Offset > 0 {
		parker{}.ServeRead(c, in)
		return
	}
	s.slowly.ServeRead(c, in)
}

func TestLateRequestIsInterruptedOnlyIfItHasToWaitInItsObject(t *testing.T) {
	k, c := connect(t, parksBehind{slowly{takes: 5 * time.Millisecond}})
	defer k.hangUp()
	k.readBy(2, 20)
	k.readBy(1, 21)
	k.readBy(1, 22)       // is late
	k.readAt(1, 23, 4096) // is late, and parks
	k.interrupt(24, 22)
	k.interrupt(25, 23)
	k.answers(20, 0)
	k.answers(21, 0)
	// Their debts are paid at the same time.
	got := map[uint64]syscall.Errno{}
	for range 2 {
		out := k.reply()
		got[out.Unique] = syscall.Errno(-out.Status)
	}
	if want := map[uint64]syscall.Errno{22: 0, 23: syscall.EINTR}; !maps.Equal(got, want) {
		t.Errorf("answers after the interrupts: %v, want %v", got, want)
	}
	if n := c.turns.lates.Load(); n != 0 {
		t.Errorf("%d requests are late, want 0", n)
	}
}

func TestAnswerToALongWriteIsLate(t *testing.T) {
	k, c := connect(t, slowly{takes: 5 * time.Millisecond})
	defer k.hangUp()
	write := struct {
		fuse.WriteIn
		data [lateSize]byte
	}{}
	write.Opcode, write.Size, write.Uid, write.Unique = opWrite, lateSize, 1, 32
	k.readBy(2, 30)
	k.readBy(1, 31)
	k.send(unsafe.Pointer(&write), unsafe.Sizeof(write))
	k.readBy(3, 33)
	k.interrupt(34, 32) // its answer is there, and is sent in time
	k.answers(30, 0)
	k.answers(31, 0)
	k.answers(33, 0)
	k.answers(32, 0)
	if n := c.turns.lates.Load(); n != 0 {
		t.Errorf("%d requests are late after the interrupt, want 0", n)
	}
}
