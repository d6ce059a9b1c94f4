// Package objects is the seam between objects of inter-process communication and what drives
// them. What a mailbox, a pipe, a semaphore or a segment is, a package of its own below this
// one says: a state machine that never blocks, never starts a goroutine and never reads a
// clock. Each declares itself as a [Kind]. Two drivers run them: the mounted file system
// (package fs) and the simulated kernel (package kernelsim).
//
// # Protocol
//
// A driver turns what a process does into a [Request] and hands it to
// [Object.Submit]. The object either finishes the request at once or parks it in a
// wait queue. Every call returns the requests it has finished, whoever's they are,
// as [Finished]; the driver then answers each of them. This is hand-off: whoever
// makes a parked request possible completes it, in order. Nothing is ever retried,
// so the first to wait is the first to be served, and a request that waits costs
// nothing but its own memory.
//
// [Object.Cancel] ends a parked request (a signal, a death). It does nothing to a
// request that has finished: completion beats cancellation, so a message that was
// handed over is never lost. A request of several parts, some of which are done, ends
// with those. A driver that finds it cannot deliver a finished
// receive after all gives the message back with [Object.Return].
//
// An object in which something happens when time passes is an [Expirer]: the driver runs
// one timer for its next deadline. Transfer, Forward, SendSegment and ReceiveSegment of
// package mailbox are the calls on two objects.
//
// What an object keeps with an open file and with a request is in types of its package:
// [Handle.Own], [Request.Own].
//
// # Saving
//
// What an object does from here on is decided by its [State], which a [Saver] writes down: see
// [Kind.Load]. It is the object's and of plain values; what belongs to the driver, open files,
// requests and memory, is beside it.
//
// # Locking
//
// Objects hold no locks. The driver serialises all calls on one object; calls on
// different objects may run in parallel. What several objects share (a mount's
// memory limit) they reach through [Ledger], which the driver makes safe.
//
// # Buffers
//
// The Data of a sending request is borrowed: it belongs to the driver again once
// the Finished of the Submit call it came with have been answered. An object that
// keeps bytes longer copies them, or keeps the buffer of long data if the driver
// allows it: see [Request.Keep]. The Data of a finished receive may be such a borrowed
// buffer, also one that Return has handed on, so a driver answers the Finished of a
// call before it reuses the buffer it submitted.
//
// # Wake order
//
// Finished lists requests in the order in which their processes are to wake. A
// receiver comes before the sender whose message it got: when the sender returns
// from a rendezvous, its message has been received. Long writes to a buffered pipe are
// the exception: their writer comes first and prepares the next while the driver
// copies these to the reader.
package objects
