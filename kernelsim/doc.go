// Package kernelsim shows what can happen between processes: it runs a scenario in a
// simulated kernel with the very objects that the mounted file system serves, or searches
// through all its runs, and writes down what it saw.
//
// # Rooms
//
// Each may import those above it:
//
//	kernel     processes, scheduler, clock, choices, the state of a run
//	explore    the search through all runs
//	laws       what every call on an object must keep to
//	timeline   drawings of runs
//	page       a run as a page that plays it
//	graph      the states of all runs, drawn
//	cost       what messages cost
//	scenario   the language: parser, interpreter, endings
//	scenarios  those that come with the program
//	live       a scenario with real processes, on a mount
//
// This package is the front of them for a person. Nothing but live has goroutines or
// reads a clock.
package kernelsim
