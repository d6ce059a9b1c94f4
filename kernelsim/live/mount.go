package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ipcfs/kernelsim/scenario"
	"ipcfs/objects"
)

// MountName is the name of the place that NewMount makes.
const MountName = "ipcfs"

// A mount is a place on a mounted ipcfs. Its objects are directories, but those that
// the scenario destroys: rm of a flat object asks nobody.
type mount struct {
	dir, prefix string
	objects     []scenario.Declaration
	alone       []bool // pipes of which the scenario uses one end only
	extends     bool   // a process extends leases
	held        []int  // descriptors of the coordinator, until all have opened theirs

	files map[scenario.End]int  // of a process
	holds map[int][]int         // of a process, by object
	lazy  map[scenario.End]bool // not opened yet
}

// NewMount makes the objects of s on the ipcfs mounted at dir, under names of their
// own.
func NewMount(dir string, s *scenario.Scenario) (Place, error) {
	if err := s.OnlySimulated(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, ".ipcfs", "version")); err != nil {
		return nil, fmt.Errorf("%s: no ipcfs is mounted there", dir)
	}
	m := newMount(dir, "", s)
	for n := 0; ; n++ {
		m.prefix = fmt.Sprintf("simulate-%d-%d", os.Getpid(), n)
		err := os.Mkdir(m.shared(), 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	if err := m.make(s); err != nil {
		return nil, errors.Join(err, m.Remove())
	}
	return m, nil
}

func newMount(dir, prefix string, s *scenario.Scenario) *mount {
	m := &mount{dir: dir, prefix: prefix, objects: s.Declarations(), extends: s.Extends(),
		files: map[scenario.End]int{}, holds: map[int][]int{}, lazy: map[scenario.End]bool{}}
	m.alone = make([]bool, len(m.objects))
	for object := range m.objects {
		m.alone[object] = s.Alone(object)
	}
	return m
}

// FindMount finds the mount that NewMount has made objects on.
func FindMount(at json.RawMessage, s *scenario.Scenario) (Place, error) {
	var where [2]string
	if err := json.Unmarshal(at, &where); err != nil {
		return nil, err
	}
	return newMount(where[0], where[1], s), nil
}

func (m *mount) Name() string   { return MountName }
func (m *mount) At() any        { return [2]string{m.dir, m.prefix} }
func (m *mount) Shared() string { return filepath.Join(m.shared(), "data") }

func (m *mount) shared() string { return filepath.Join(m.dir, "segments", m.prefix) }

func kindDir(kind string) string {
	if kind == "mailbox" {
		return "mailboxes"
	}
	return kind + "s"
}

func (m *mount) path(object int) string {
	d := m.objects[object]
	return filepath.Join(m.dir, kindDir(d.Kind.Name), m.prefix+"-"+d.Name)
}

// file is the path of an endpoint or control file.
func (m *mount) file(object int, name string) string {
	if m.objects[object].Destroyed {
		return filepath.Join(m.path(object)+".d", name)
	}
	return filepath.Join(m.path(object), name)
}

// The modes of files and folders that processes of several users use.
const everybody, everybodysFolder = 0o666, 0o777

// share lets every user use what s uses of an object, and the one destroy it who does.
func (m *mount) share(object int, s *scenario.Scenario) error {
	if d := m.objects[object]; d.Destroyed {
		if err := os.Chmod(m.path(object), everybody); err != nil {
			return err
		}
		if err := os.Chown(m.path(object), int(d.Destroyer), -1); err != nil {
			return err
		}
	}
	for _, name := range s.Settings(object) {
		if err := os.Chmod(m.file(object, name), everybody); err != nil {
			return err
		}
	}
	for _, i := range s.Instances() {
		for _, e := range s.Uses(i.Process) {
			if e.Object != object {
				continue
			}
			path, folder := m.endpoint(e), filepath.Dir(m.file(object, "stat"))
			if dir := filepath.Dir(path); dir != folder {
				if err := os.Chmod(dir, everybodysFolder); err != nil {
					return err
				}
			}
			// EPERM: its mode is its folder's.
			if err := os.Chmod(path, everybody); err != nil && !errors.Is(err, syscall.EPERM) {
				return err
			}
		}
	}
	return nil
}

func (m *mount) make(s *scenario.Scenario) error {
	users := false
	for _, i := range s.Instances() {
		users = users || i.Uid != 0
	}
	for object, d := range m.objects {
		var err error
		if d.Destroyed {
			err = syscall.Mknod(m.path(object), syscall.S_IFREG|0o600, 0)
		} else {
			err = os.Mkdir(m.path(object), 0o755)
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", m.path(object), err)
		}
		for i := 0; i < len(d.Policies); i += 2 {
			if errno := m.SetPolicy(object, d.Policies[i], d.Policies[i+1]); errno != 0 {
				return fmt.Errorf("set %s of %s: %w", d.Policies[i], m.path(object), errno)
			}
		}
		if d.Kind.Name == "pipe" && !m.alone[object] {
			// With both ends open, no open of a process waits.
			if err := m.hold(object, "read", syscall.O_RDONLY); err != nil {
				return err
			}
			if err := m.hold(object, "write", syscall.O_WRONLY); err != nil {
				return err
			}
		}
		if !users {
			continue
		}
		if err := m.share(object, s); err != nil {
			return err
		}
	}
	if users {
		return os.Chmod(m.Shared(), everybody)
	}
	return nil
}

func (m *mount) hold(object int, name string, flags int) error {
	fd, err := syscall.Open(m.file(object, name), flags|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: m.file(object, name), Err: err}
	}
	m.held = append(m.held, fd)
	return nil
}

// Opened is called when every process has opened what it uses.
func (m *mount) Opened() {
	for _, fd := range m.held {
		syscall.Close(fd)
	}
	m.held = nil
}

// removal bounds the wait for what the dead have left open.
const removal = 5 * time.Second

func (m *mount) Remove() error {
	m.Opened()
	var errs []error
	remove := func(path string, remove func(string) error) {
		err := remove(path)
		// EBUSY: somebody has it open. ENOTEMPTY: a last sender came in after the flush.
		for deadline := time.Now().Add(removal); (errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY)) && time.Now().Before(deadline); err = remove(path) {
			time.Sleep(time.Millisecond)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove %s: %w", path, err))
		}
	}
	for object, d := range m.objects {
		if d.Destroyed {
			remove(m.path(object), syscall.Unlink)
			continue
		}
		remove(m.path(object), func(path string) error {
			err := syscall.Rmdir(path)
			if err == syscall.ENOTEMPTY {
				_ = m.put(m.file(object, "flush"), "1\n")
				err = syscall.Rmdir(path)
			}
			return err
		})
	}
	remove(m.shared(), syscall.Rmdir)
	return errors.Join(errs...)
}

func (m *mount) lines(object int, name string) ([]string, error) {
	text, err := os.ReadFile(m.file(object, name))
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), nil
}

func (m *mount) Query(what string, object int) (int64, error) {
	switch what {
	case "waiting":
		lines, err := m.lines(object, "waiters")
		if errors.Is(err, os.ErrNotExist) {
			return 0, nil // destroyed
		}
		return int64(len(lines)), err
	case "messages":
		if m.objects[object].Kind.Name == "pipe" {
			what = "oob"
		}
	}
	lines, err := m.lines(object, "stat")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // destroyed
	}
	for _, line := range lines {
		if name, n, ok := strings.Cut(line, " "); ok && name == what {
			return strconv.ParseInt(n, 10, 64)
		}
	}
	return 0, err // a kind without it holds none
}

func (m *mount) Parked([]int) (map[int]bool, error) {
	parked := map[int]bool{}
	for object := range m.objects {
		lines, err := m.lines(object, "waiters")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, line := range lines {
			pid, _, _ := strings.Cut(line, " ")
			if n, err := strconv.Atoi(pid); err == nil {
				parked[n] = true
			}
		}
	}
	return parked, nil
}

// Closing looks at the counters of open files.
func (m *mount) Closing() (bool, error) {
	for object := range m.objects {
		lines, err := m.lines(object, "stat")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		for _, line := range lines {
			if name, n, _ := strings.Cut(line, " "); strings.HasPrefix(name, "open_") && n != "0" {
				return true, nil
			}
		}
	}
	return false, nil
}

// Pending looks for messages that are held no longer than a ttl, and for leases that end.
func (m *mount) Pending() (bool, error) {
	for object, d := range m.objects {
		for _, end := range []struct {
			counter, policy string
			anyway          bool
		}{{"messages", "ttl", false}, {"leased", "lease_time", m.extends}} {
			if !d.Kind.HasPolicy(end.policy) {
				continue
			}
			span, err := m.lines(object, end.policy)
			if errors.Is(err, os.ErrNotExist) {
				break // destroyed
			}
			if err != nil {
				return false, err
			}
			n, err := m.Query(end.counter, object)
			if err != nil || n > 0 && (end.anyway || !slices.Equal(span, []string{"max"})) {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// endpoints are the files of operations and how they are opened: once, or for each
// operation.
var endpoints = map[objects.Op]struct {
	name  string
	flags int
	kept  bool
}{
	objects.Send:    {"send", syscall.O_WRONLY, true},
	objects.Receive: {"stream", syscall.O_RDONLY, true},
	objects.Receipt: {"send", syscall.O_RDWR, true},
	objects.Lease:   {"lease", syscall.O_RDWR, true},
	objects.Write:   {"write", syscall.O_WRONLY, true},
	objects.Read:    {"read", syscall.O_RDONLY, true},
	objects.Wait:    {"wait", syscall.O_WRONLY, true},
	objects.Post:    {"post", syscall.O_WRONLY, true},
	objects.Peek:    {"peek", syscall.O_RDONLY, false},
	objects.Hold:    {"hold", syscall.O_RDONLY, false},
	objects.Flush:   {"flush", syscall.O_WRONLY, false},
	objects.Hangup:  {"hangup", syscall.O_WRONLY, false},
}

// endpoint is the path of e.
func (m *mount) endpoint(e scenario.End) string {
	switch kind := m.objects[e.Object].Kind.Name; {
	case e.Label.Word != "":
		return m.file(e.Object, filepath.Join(e.Label.Word, e.Label.Value))
	case kind == "pipe" && (e.Op == objects.Send || e.Op == objects.Receive):
		return m.file(e.Object, "oob")
	case kind == "segment" && e.Op == objects.Hold:
		return m.file(e.Object, "lock")
	}
	return m.file(e.Object, endpoints[e.Op].name)
}

// eachTime stands for the descriptor of an endpoint that is open for the process, but is
// opened anew for each operation.
const eachTime = -1

func (m *mount) Open(ends []scenario.End) error {
	var opened []scenario.End
	for _, e := range ends {
		if _, open := m.files[e]; open {
			continue
		}
		if !endpoints[e.Op].kept {
			m.files[e] = eachTime
			continue
		}
		if m.alone[e.Object] {
			m.lazy[e] = true // its open waits for the other end, for ever
			continue
		}
		if errno := m.open(e, 0); errno != 0 {
			for _, e := range opened {
				syscall.Close(m.files[e])
				delete(m.files, e)
			}
			return &os.PathError{Op: "open", Path: m.endpoint(e), Err: errno}
		}
		opened = append(opened, e)
	}
	return nil
}

func (m *mount) open(e scenario.End, flags int) syscall.Errno {
	// Opened so, an endpoint gives one message after another, without end of file.
	endless := e.Op == objects.Receive || e.Op == objects.Lease || e.Op == objects.Receipt
	if endless {
		flags |= syscall.O_NONBLOCK
	}
	fd, err := syscall.Open(m.endpoint(e), endpoints[e.Op].flags|flags|syscall.O_CLOEXEC, 0)
	if err == nil && endless {
		err = syscall.SetNonblock(fd, false)
	}
	if err != nil {
		return errnoOf(err)
	}
	m.files[e] = fd
	delete(m.lazy, e)
	return 0
}

func (m *mount) put(path, text string) syscall.Errno {
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer syscall.Close(fd)
	_, err = syscall.Write(fd, []byte(text))
	return errnoOf(err)
}

func (m *mount) Do(o scenario.Operation) (data []byte, errno syscall.Errno) {
	nonblock := 0
	if o.Nonblock {
		nonblock = syscall.O_NONBLOCK
	}
	e := o.End
	if fd, open := m.files[e]; o.Op != objects.Hold && !open && !m.lazy[e] {
		return nil, syscall.EBADF // closed
	} else if open && fd == eachTime {
		defer func() {
			if errno == syscall.ENOENT {
				errno = syscall.EIDRM // it was open, and is destroyed
			}
		}()
	}
	switch o.Op {
	case objects.Flush, objects.Hangup:
		return nil, m.put(m.endpoint(e), "1\n")
	case objects.Hold:
		return nil, Interruptible(o.Within, func() error {
			fd, err := syscall.Open(m.endpoint(e), syscall.O_RDONLY|syscall.O_CLOEXEC|nonblock, 0)
			if err == nil {
				m.holds[o.End.Object] = append(m.holds[o.End.Object], fd)
			}
			return err
		})
	case objects.Peek:
		errno = Interruptible(o.Within, func() error {
			fd, err := syscall.Open(m.endpoint(e), syscall.O_RDONLY|syscall.O_CLOEXEC|nonblock, 0)
			if err == nil {
				defer syscall.Close(fd)
				data, err = read(fd, o.Size)
			}
			return err
		})
		return data, errno
	}
	errno = Interruptible(o.Within, func() error {
		if m.lazy[e] {
			if errno := m.open(e, nonblock); errno != 0 {
				return errno
			}
		}
		fd := m.files[e]
		if o.Nonblock {
			if err := syscall.SetNonblock(fd, true); err != nil {
				return err
			}
			defer func() { _ = syscall.SetNonblock(fd, false) }()
		}
		var err error
		switch o.Op {
		case objects.Receive, objects.Read, objects.Lease, objects.Receipt:
			data, err = read(fd, o.Size)
		case objects.Wait, objects.Post:
			_, err = syscall.Write(fd, fmt.Appendf(nil, "%d\n", o.Units))
		default:
			_, err = syscall.Write(fd, o.Data)
		}
		return err
	})
	return data, errno
}

func read(fd, size int) ([]byte, error) {
	data := make([]byte, size)
	n, err := syscall.Read(fd, data)
	return bytes.Clone(data[:max(n, 0)]), err
}

func (m *mount) Close(object int, held bool) {
	for _, fd := range m.holds[object] {
		syscall.Close(fd)
	}
	delete(m.holds, object)
	if held {
		return
	}
	for e, fd := range m.files {
		if e.Object == object {
			if fd != eachTime {
				syscall.Close(fd)
			}
			delete(m.files, e)
		}
	}
	for e := range m.lazy {
		if e.Object == object {
			delete(m.lazy, e)
		}
	}
}

func (m *mount) SetPolicy(object int, name, value string) syscall.Errno {
	if name == "dead_letters" && value != "" {
		value = m.prefix + "-" + value
	}
	return m.put(m.file(object, name), value+"\n")
}

func (m *mount) Destroy(object int) error {
	if err := syscall.Unlink(m.path(object)); err != nil && err != syscall.ENOENT { // destroyed already
		return &os.PathError{Op: "remove", Path: m.path(object), Err: err}
	}
	return nil
}
