// Package mutants puts deliberate bugs into the sources of package objects and of the packages
// below it. Tests that notice nothing of such a bug, a mutant, do not hold the code to what it does.
//
// # Names
//
// A mutant is named by its place in the syntax tree: the function or method, the sort of node with
// its number within that function, and the change. "Mailbox.admit: if 2 never" is the second
// condition of an if in that method, taken to be false. Files can be split and renamed, and lines
// moved, without another name for any mutant.
//
// # One build
//
// [Sources.Instrument] writes all mutants into one copy of the sources, each behind a test for its
// number, which the environment gives. So the tests are built once, and run once for each mutant.
// [Sources.Instrument] fails for no mutant: those that would not compile are not made.
//
// # What is changed
//
//   - if, case: the condition is always true, or never; for: never
//   - operand of && and ||: it is left out; not: it is compared the other way round
//   - less: < becomes <=, and so on; plus: + becomes -; min: min becomes max; and the reverse
//   - constant: a number is one more, a word is empty, true is false
//   - return: what is returned is zero, false for true
//   - statement: it is left out
//
// What makes sure of the code itself has no mutants, for nothing happens there while that is right:
// Check methods, and conditions that lead to a panic.
package mutants
