//go:build race

package tests

// raceEnabled says that the tests have the race detector, so the daemon gets it too.
const raceEnabled = true
