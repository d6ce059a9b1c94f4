package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// searchGC is how much garbage a search may leave, in percent of what it needs: most of what
// it makes it keeps for long, and to look through that often is a third of its time otherwise.
const searchGC = 400

// A lookout ends a search whose time is up, and says on a terminal how far it is.
type lookout struct {
	w        io.Writer
	terminal bool
	limit    time.Duration // 0: none
	now      func() time.Time

	began time.Time
	said  time.Time // when it has told last, or the beginning
	told  bool
	calls int
}

// patience is after how long a person wants to know that something happens, and pace how often.
const patience, pace = time.Second, time.Second / 5

// looksEvery is how many states pass between two looks at the clock: they take less than a
// millisecond.
const looksEvery = 16

func newLookout(w io.Writer) *lookout {
	l := &lookout{w: w, now: time.Now}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS) // isatty(3)
		l.terminal = err == nil
	}
	l.began = l.now()
	l.said = l.began
	return l
}

// goes reports whether the search is to go on.
func (l *lookout) goes(states, depth int) bool {
	if l.calls++; l.calls%looksEvery != 0 {
		return true
	}
	now := l.now()
	since := now.Sub(l.began)
	if l.limit > 0 && since >= l.limit {
		return false
	}
	if l.terminal && since >= patience && now.Sub(l.said) >= pace {
		l.said, l.told = now, true
		fmt.Fprintf(l.w, "\r\033[K%d states, %d steps deep, %.0f states a second", states, depth, float64(states)/since.Seconds())
	}
	return true
}

// end takes the line away again.
func (l *lookout) end() {
	if l.told {
		fmt.Fprint(l.w, "\r\033[K")
	}
}
