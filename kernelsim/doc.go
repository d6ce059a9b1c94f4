// Package kernelsim is a kernel in miniature: simulated processes, a scheduler, a
// clock of its own, and the very objects that the mounted file system serves. It
// proves what blocking operations do, and it shows a person what can happen.
//
// # Processes and steps
//
// A process is an ordinary Go function on a coroutine. It runs until it makes a
// system call and is then suspended with the call pending. A step of the kernel
// picks one process and carries out its pending call: the call finishes, and the
// process runs on to its next one, or it parks in an object and the process is
// blocked. A process whose parked request somebody else has finished is ready
// again; a step of its own delivers the result. In between it can still be killed:
// the result then goes back ([objects.Object.Return]).
//
// What a process does between two calls is invisible to the others, so steps are
// all there is to schedule. Processes must share nothing but what they reach
// through calls.
//
// # Choices
//
// [Kernel.Options] lists what can happen next: a step of a ready process, the
// clock's next timer, a kill or a signal if the run may still have one.
// [Kernel.Take] makes one of them happen. Nothing else is left open: the same
// choices give the same run, and the same trace, byte for byte. A [Chooser] makes
// the choices: at random from a seed, first come first served, or depth first
// through all of them. [Explore] searches breadth first and merges equal states.
//
// # Laws
//
// Every call on an object passes its laws. The general ones know no kind: what was
// submitted is finished or parked and never both, nobody waits for what is there,
// waiting requests are served in order, a cancelled request has changed nothing,
// what is booked in the ledger is what is held. Kinds add their own: a mailbox
// neither loses nor doubles a message and keeps their order.
package kernelsim
