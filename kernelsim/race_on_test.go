//go:build race

package kernelsim

// slow is how much less is tried under the race detector, which makes each switch
// between coroutines dear. Only one of them runs at a time, so it finds little here.
const slow = 10
