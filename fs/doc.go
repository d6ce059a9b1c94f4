// Package fs is the tree of files and the FUSE front: it turns the kernel's
// requests into requests of objects.
//
// # The way of a request
//
// A blocking read goes FUSE_READ → [fusedev.Conn] → handle → object.Submit, which
// finds the mailbox empty and parks the request: there is nothing to reply yet.
// Later a writer's Submit pops that reader, hands the message over and returns both
// requests as finished; the writer's thread sends both replies ([FS.finish]).
//
// # Files
//
// namespace.go has what changes names, node.go the kernel's inodes, handle.go open files and
// call.go requests that may wait. What stands for a kind of object is declared in the file named
// after the kind, as a presentation (kind.go). What a file does depends on its sort:
// entry_endpoint.go, entry_control.go, entry_message.go and entry_memory.go each have one or
// two types, which say by small interfaces what they can (entry.go).
//
// # Nodes
//
// The kernel holds a lock of its inode while a write is in progress. A writer
// parked on a full mailbox would therefore hang every chmod, rm and second writer
// of that inode, beyond the reach of SIGKILL. So one file has many nodes: LOOKUP
// answers with a fresh node number whenever a thread other than the last one asks,
// or the last one is in use, and all of them show the same inode number
// ([FS.nodeForLocked]). A node that a thread got from LOOKUP is then its own: nobody else
// can open it and park a write on it. When many threads open one file at once they
// share a node until one of them wants to write: that open is answered ESTALE, upon
// which the kernel looks the name up once more and is given a node for it alone. Of a
// user's writers one is answered at a time, which keeps them from taking the name from
// each other again and again (see gate.go). The one way round, reopening a descriptor
// through /proc/PID/fd, is refused with ESTALE while a write is parked. What else
// leads to the inode of a parked write is the matter of the next section.
//
// Memory is the exception: nothing waits in a write of it, and its mappings and cached
// pages belong to the kernel's inode. It has one node for as long as the kernel knows
// it, and a segment that has lost its last name lives until that node has lost its
// last user.
//
// # Locks of the kernel
//
// Who has a descriptor of a file with a parked write, or a bind mount of the file,
// reaches its inode and waits in state D; and so does, for the file position, who reads
// or seeks a descriptor with a parked read of another process. Three things keep that
// from spreading ([FS.lookupAbsent], [guard]):
//
// link(2) through a descriptor would wait with the lock of the new name's directory
// held, and with it everybody there. The LOOKUP of that name comes before. While it
// waits for our answer /proc/TID/syscall shows that its thread is in link(2), and the
// answer is EPERM: nothing but segments has more than one name.
//
// While a write has been parked for long a thread asks for the lock of each directory
// of objects, by invalidating a name that does not exist. If that takes long, /proc
// shows who waits in link(2), rename(2) or unlink(2), and the parked writes of that
// process end with EINTR, then those of its user, then, if it can be anybody's, all.
// This is for links to segments, for io_uring(7) where the stack of its threads cannot
// be read, and for PID namespaces that we do not see.
//
// While a request has been parked for long, /proc shows the threads in state D to which
// SIGKILL is pending. If one has the open file, or the bind mount, of the parked
// request, that ends with EINTR. Nobody else's does, and none ends for a process that
// merely waits. A process of a PID namespace that we do not see stays, though its
// directory does not.
//
// Tried and not enough: FOPEN_PARALLEL_DIRECT_WRITES with an i_size beyond the write
// shares the inode's lock among writers only; nothing that a FUSE server can set while a
// write is parked has vfs_link refuse before it takes the lock; a FUSE server cannot
// answer a WRITE with ERESTARTSYS.
//
// # Locks
//
// FS.mu guards the tree: names, nodes, owners, modes. Each object has a mutex of its
// own that serialises the calls on it. FS.mu may be held when an object's mutex is
// taken, never the other way round. Of two objects the one with the lower inode number
// comes first. Replies are written with neither held.
//
// Every lock is unlocked by defer, every change of an object goes through
// [FS.withObject], and every goroutine and timer logs its panic: a defect costs the one
// object in whose change it shows. That is broken then: whoever waits for it or uses it
// gets EIO, and everything else goes on.
//
// # What it asks of the kernel besides FUSE
//
// Holders of semaphores and locks are watched through pidfds, segments live in
// memfds, and a writer to a pipe without readers gets its SIGPIPE: system calls that
// belong to what a kind of object means, not to the connection. That is why this
// package, too, uses golang.org/x/sys.
package fs
