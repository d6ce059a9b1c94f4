//go:build !race

package kernelsim

const slow = 1
