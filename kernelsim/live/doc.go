// Package live runs a scenario with real processes, signals and time, on a mounted
// ipcfs or wherever else a [Place] has its objects.
//
// Each process of the scenario is a process of the system: the program started anew.
// It interprets its part with the interpreter of the simulation and carries out the
// operations as system calls. Variables and sections are in memory that all of them
// map, under a lock that dies with its holder. The coordinator ([Run]) starts the
// processes, kills and signals them, and collects what they report.
//
// # When it is over
//
// A process reports an operation before it begins it, and reports are read before and
// after the look at who waits. So if every process that lives is seen waiting in an
// operation without a time-out, and no report comes in between, nobody was there who
// could have woken another: that is how it will stay, and those who are no daemons are
// in a deadlock. Only the closing of a dead process's files comes late, which is why
// the state must last for a while.
//
// This package has goroutines and a clock, unlike the rest of kernelsim.
package live
