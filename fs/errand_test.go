package fs

import (
	"os"
	"testing"

	"ipcfs/fs/fusedev"
)

func TestAnErrandIsOnTheBooks(t *testing.T) {
	f, _, _ := flatMailbox(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	e := f.newErrand(fusedev.NewConn(int(null.Fd()), f, f, f.log), 1, 1000)
	if got := f.ledger.usedByUsers[1000].Kept; got != errandCost {
		t.Errorf("an errand has %d bytes on its user's books; want %d", got, errandCost)
	}
	e.end()
	e.end()
	if got, any := f.ledger.usedByUsers[1000]; any {
		t.Errorf("at its end %+v are left on the books", got)
	}
}
