// Package fusedev is the connection to the kernel: it mounts, reads requests from
// /dev/fuse and writes replies and notifications to it.
//
// # Why not go-fuse's server
//
// A file system of IPC objects parks most of its requests. go-fuse's server keeps a
// goroutine and a read-sized buffer for each of them, and answers POLL with ENOSYS,
// which turns poll(2) off for the whole mount. Here one thread at a
// time reads requests and handles them inline. A request that has to wait is remembered as one
// small struct ([Conn.Park]); whoever completes it writes its reply, from any
// thread. Requests that never wait and are not on the hot path (lookups,
// attributes, directories) go through go-fuse's ProtocolServer.
//
// # The loop never blocks
//
// A [Handler] returns without waiting for anything but short locks: the thread that
// runs it also reads the request that would end the wait. Where a handler finds such a
// lock taken, or is to work long, it gives the turn to read to another thread first
// ([Conn.Yield]); one is started if none is idle. Nothing in the daemon
// opens a file of its own mount.
//
// # Interrupts
//
// A signal to a waiting client, even SIGKILL, reaches us as INTERRUPT with the
// number of the request, and the client stays until we answer. If the request is
// parked it is cancelled with EINTR. If it is not known, it is either answered
// already (the kernel refuses our reply, which is fine) or still being read by
// another thread: EAGAIN makes the kernel send the INTERRUPT once more
// (Documentation/filesystems/fuse/fuse.rst, "Interrupting filesystem operations").
//
// # Lock order
//
// A handler parks and unparks a request under the lock of the object it waits for;
// Conn's own lock is taken inside it and held for a map access only.
package fusedev
