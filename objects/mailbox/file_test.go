package mailbox

import (
	"os"
	"reflect"
	"testing"
)

// What files share that have nothing more is nobody's to write to.
func TestMain(m *testing.M) {
	status := m.Run()
	if !reflect.ValueOf(nothing).IsZero() {
		println("mailbox: somebody has written to what all files share")
		status = 1
	}
	os.Exit(status)
}
