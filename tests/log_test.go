package tests

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestALogThatIsAFIFOIsRefused(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, held := range []bool{false, true} { // by a reader
		if held {
			fd, err := syscall.Open(fifo, syscall.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Close(fd)
		}
		c := run(t, ipcfsBin, "mount", "--log", fifo, emptyDir(t, nil))
		c.wait()
		if got := c.stderr.String(); !strings.Contains(got, "neither a regular file nor a device") {
			t.Errorf("mount --log FIFO said %q", got)
		}
	}
}
