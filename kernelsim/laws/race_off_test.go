//go:build !race

package laws

const slow = 1
