package fs

import (
	"testing"
	"unsafe"
)

func TestAParkedRequestCostsWhatIsBooked(t *testing.T) {
	if n := unsafe.Sizeof(call{}); n > parkedCost-256 {
		t.Errorf("a call has %d bytes; %d are booked, with what lists it", n, parkedCost)
	}
}
