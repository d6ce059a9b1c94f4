package tests

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// An openDirectory is listed in pieces of a few entries.
type openDirectory struct {
	t  testing.TB
	fd int
}

func openDir(t testing.TB, path string) *openDirectory {
	t.Helper()
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return &openDirectory{t, fd}
}

// A listedName is one of getdents(2), with the place behind it.
type listedName struct {
	name string
	next int64
}

// piece reads the next names, none at the end.
func (d *openDirectory) piece() (names []listedName) {
	d.t.Helper()
	buf := make([]byte, 1024)
	n, err := syscall.ReadDirent(d.fd, buf)
	if err != nil {
		d.t.Fatal(err)
	}
	for buf = buf[:n]; len(buf) > 0; {
		// getdents(2): d_ino, d_off, d_reclen, d_type, d_name.
		length := binary.NativeEndian.Uint16(buf[16:])
		name, _, _ := strings.Cut(string(buf[19:length]), "\x00")
		names = append(names, listedName{name, int64(binary.NativeEndian.Uint64(buf[8:]))})
		buf = buf[length:]
	}
	return names
}

// seek is seekdir(3), and rewinddir(3) if place is 0.
func (d *openDirectory) seek(place int64) {
	d.t.Helper()
	if _, err := syscall.Seek(d.fd, place, 0); err != nil {
		d.t.Fatal(err)
	}
}

// rest reads to the end, and calls between after each piece.
func (d *openDirectory) rest(between func(piece []listedName)) (all []string) {
	d.t.Helper()
	for piece := d.piece(); len(piece) > 0; piece = d.piece() {
		for _, e := range piece {
			all = append(all, e.name)
		}
		if between != nil {
			between(piece)
		}
	}
	return all
}

// wantOnce fails unless each of the names is in the list exactly once.
func wantOnce(t testing.TB, list []string, names ...string) {
	t.Helper()
	times := make(map[string]int)
	for _, name := range list {
		times[name]++
	}
	for _, name := range names {
		if times[name] != 1 {
			t.Errorf("%q is listed %d times, want once", name, times[name])
		}
	}
}

func TestADirectoryListsWhatStaysExactlyOnce(t *testing.T) {
	t.Parallel()
	m := mount(t)
	touch := func(name string) {
		if err := os.WriteFile(m.path("mailboxes", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stay []string
	for i := range 400 {
		touch("stays" + number(i))
		touch("goes" + number(i))
		stay = append(stay, "stays"+number(i))
	}
	d := openDir(t, m.path("mailboxes"))
	come := 0
	list := d.rest(func(piece []listedName) {
		for _, e := range piece {
			if strings.HasPrefix(e.name, "goes") {
				if err := os.Remove(m.path("mailboxes", e.name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if come++; come <= 20 {
			touch("comes" + number(come))
		}
	})
	wantOnce(t, list, append(stay, ".", "..")...)
	if again := d.piece(); len(again) != 0 {
		t.Errorf("the end is followed by %v", again)
	}
	// rewinddir(3): as if it had been opened anew.
	d.seek(0)
	list = d.rest(nil)
	wantOnce(t, list, append(stay, "comes1", "comes20", ".", "..")...)
	if len(list) != len(stay)+20+2 {
		t.Errorf("%d names are listed, want %d", len(list), len(stay)+22)
	}
	// telldir(3) and seekdir(3): each place is followed by what followed it.
	d.seek(0)
	first := d.piece()
	rest := d.rest(nil)
	for i, e := range first {
		d.seek(e.next)
		var want []string
		for _, later := range first[i+1:] {
			want = append(want, later.name)
		}
		if got := d.rest(nil); !slices.Equal(got, append(want, rest...)) {
			t.Errorf("%d names follow %q, want %d", len(got), e.name, len(want)+len(rest))
		}
	}
}

func TestDirectoriesOfMessagesListWhatStaysExactlyOnce(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "max", "order", "priority")
		const n = 300
		var odd, even, topics []string
		for i := range n {
			send(t, mb.file([]string{"send", "priority/" + number(i%4), "urgent"}[i%3]), "x")
			if i%2 == 0 {
				odd = append(odd, number(i+1))
			} else {
				even = append(even, number(i+1))
			}
		}
		d, more := openDir(t, mb.file("messages")), 0
		list := d.rest(func(piece []listedName) {
			for _, e := range piece {
				if slices.Contains(even, e.name) {
					if err := os.Remove(mb.file("messages/" + e.name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if more++; more <= 20 { // else the end would move on for ever
				send(t, mb.file("send"), "more")
			}
		})
		wantOnce(t, list, append(odd, ".", "..")...)
		mb.set("flush", "")
		d.seek(0)
		if got := d.rest(nil); !slices.Equal(got, []string{".", ".."}) {
			t.Errorf("after a flush messages lists %v", got)
		}

		for i := range n {
			send(t, mb.file("topic/t"+number(i%100)), "x")
			if i < 100 {
				topics = append(topics, "t"+number(i))
			}
		}
		mb.put("without")
		d = openDir(t, mb.file("topic"))
		wantOnce(t, d.rest(func([]listedName) { send(t, mb.file("topic/t7"), "x") }), append(topics, ".", "..")...)
		d.seek(0)
		first := d.piece()
		d.rest(nil)
		d.seek(first[2].next)
		if got := d.rest(nil); len(got) != len(topics)-1 {
			t.Errorf("behind the first of 100 topics %d are listed", len(got))
		}
		mb.set("flush", "")
		mb.putAs("topic/new", "x")
		d.seek(0)
		if got := d.rest(nil); !slices.Equal(got, []string{".", "..", "new"}) {
			t.Errorf("topic lists %v after a flush; want . .. new", got)
		}
	})
}

func TestALinkIsListedUnderItsOwnName(t *testing.T) {
	t.Parallel()
	m := mount(t)
	names := make(map[string]bool)
	link := func(from, to string) {
		if err := os.Link(m.path("segments", from), m.path("segments", to)); err != nil {
			t.Fatal(err)
		}
		names[to] = true
	}
	does(t, "open "+m.path("segments/a")+" rdwr|creat 600", "ok")
	names["a"] = true
	link("a", "b")
	link("b", "c")
	link("a", "d")
	check := func() {
		t.Helper()
		want := slices.Sorted(maps.Keys(names))
		list := openDir(t, m.path("segments")).rest(nil)[2:]
		slices.Sort(list)
		if !slices.Equal(list, want) {
			t.Errorf("segments lists %v, want %v", list, want)
		}
		if got := strings.Count(m.text(t, "objects"), "\n"); got != min(len(want), 1) {
			t.Errorf(".ipcfs/objects has %d lines, want one for all names", got)
		}
	}
	check()
	for _, step := range []string{"rm a", "mv c e", "rm b", "rm d", "mv e f", "rm f"} {
		words := strings.Fields(step)
		path := m.path("segments", words[1])
		delete(names, words[1])
		var err error
		if words[0] == "rm" {
			err = os.Remove(path)
		} else {
			names[words[2]] = true
			err = os.Rename(path, m.path("segments", words[2]))
		}
		if err != nil {
			t.Fatal(err)
		}
		check()
	}
}

// send writes one message to an endpoint.
func send(t testing.TB, endpoint, message string) {
	t.Helper()
	fd, err := syscall.Open(endpoint, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if n, err := syscall.Write(fd, []byte(message)); n != len(message) {
		t.Fatalf("write to %s = %d, %v; want %d", endpoint, n, err, len(message))
	}
}

// text reads a file of .ipcfs.
func (m *mountpoint) text(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(m.path(".ipcfs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// makeObjects makes n flat mailboxes m0, m1, …
func (m *mountpoint) makeObjects(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		fd, err := syscall.Open(m.path("mailboxes", fmt.Sprint("m", i)), syscall.O_CREAT|syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
	}
}

func TestAnOpenDirectoryKeepsNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	m.makeObjects(t, 5000)
	before := m.daemonStat(t)["heap_bytes"]
	for range 500 {
		openDir(t, m.path("mailboxes")).piece()
	}
	eventually(t, func() string {
		if grown := m.daemonStat(t)["heap_bytes"] - before; grown > 16<<20 {
			return "500 open directories of 5,000 names have the heap grow by " + number(grown) + " bytes"
		}
		return ""
	})
}

// The texts of .ipcfs are made as they are read.
func TestAnOpenTextKeepsLittle(t *testing.T) {
	t.Parallel()
	m := mount(t)
	const n = 5000
	m.makeObjects(t, n)
	before := m.daemonStat(t)["heap_bytes"]
	for _, name := range []string{"objects", "metrics"} {
		var open []*os.File
		for range 100 {
			f, err := os.Open(m.path(".ipcfs", name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if n, err := f.Read(make([]byte, 4096)); n == 0 {
				t.Fatal(err)
			}
			open = append(open, f)
		}
		eventually(t, func() string {
			if grown := m.daemonStat(t)["heap_bytes"] - before; grown > 24<<20 {
				return fmt.Sprintf("%d texts of %s of %d objects have the heap grow by %d bytes", len(open), name, n, grown)
			}
			return ""
		})
		if text, err := os.ReadFile(m.path(".ipcfs", name)); err != nil || !strings.Contains(string(text), "mailboxes/m0") || !strings.Contains(string(text), "mailboxes/m4999") {
			t.Errorf("%s has %d bytes, %v; want all objects", name, len(text), err)
		}
	}
}

func TestATextHasEachObjectThatStaysExactlyOnce(t *testing.T) {
	t.Parallel()
	m := mount(t)
	var want []string
	for i := range 500 {
		for _, name := range []string{"stays", "goes"} {
			if err := os.WriteFile(m.path("mailboxes", name+number(i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, "mailboxes/stays"+number(i))
	}
	f, err := os.Open(m.path(".ipcfs/objects"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text []byte
	for i := 0; ; i++ {
		buf := make([]byte, 5000)
		n, _ := f.Read(buf)
		if n == 0 {
			break
		}
		text = append(text, buf[:n]...)
		if i < 500 {
			if err := os.Remove(m.path("mailboxes", "goes"+number(499-i))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(m.path("mailboxes", "comes"+number(i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		path, _, _ := strings.Cut(line, " ")
		got = append(got, path)
		if !strings.HasSuffix(line, "\n") || !strings.Contains(line, " capacity=1024 ") {
			t.Errorf("a line is %q", line)
		}
	}
	wantOnce(t, got, want...)
	// What has been read can be read once more, as bash and head(1) do, and from the
	// start it is made anew.
	buf := make([]byte, 1000)
	end := int64(len(text))
	if _, err := f.ReadAt(buf, end-1000); err != nil || string(buf) != string(text[end-1000:]) {
		t.Errorf("the last bytes, read once more: %q, %v; want %q", buf, err, text[end-1000:])
	}
	if err := os.Remove(m.path("mailboxes/goes0")); err != nil {
		t.Fatal(err)
	}
	if n, _ := f.ReadAt(buf, 0); n == 0 || strings.Contains(string(buf[:n]), "goes0 ") {
		t.Errorf("read from the start it is %q; want no object that has gone", buf[:n])
	}
	bash(t, `i=0; while read path rest; do [[ $path == mailboxes/* ]] || echo "$path"; i=$((i+1)); done < `+m.path(".ipcfs/objects")+`; echo $i`).
		prints(fmt.Sprintf("%d\n", strings.Count(m.text(t, "objects"), "\n")))
	// A place in the middle can be sought.
	whole := m.text(t, "objects")
	bash(t, "dd if="+m.path(".ipcfs/objects")+" bs=1000 skip=100 status=none").prints(whole[100000:])
}
