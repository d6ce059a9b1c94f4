package tests

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// goLease works off a mailbox until it is killed: lease PATH LOG SEED. A line in LOG is written after each step:
// "took N" after a read, "did N" after an ack, "back N" after a nack, of which there is one in fifty.
func goLease(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 1))
	load := make([]byte, 64<<10) // the work
	for b := make([]byte, 100); ; {
		n, err := f.Read(b)
		if err == io.EOF {
			continue
		}
		if err != nil {
			return fmt.Errorf("lease: %w", err)
		}
		job := string(b[:n])
		if _, err := log.WriteString("took " + job + "\n"); err != nil {
			return err
		}
		_ = sha256.Sum256(load)
		word, note := "ack", "did "
		if random.IntN(50) == 0 {
			word, note = "nack", "back "
		}
		if _, err := f.WriteString(word); err != nil {
			return fmt.Errorf("%s of %s: %w", word, job, err)
		}
		if _, err := log.WriteString(note + job + "\n"); err != nil {
			return err
		}
	}
}

// shellLease is the worker of the manual, with the log of goLease.
const shellLease = `
exec 3<> "$1"
while job=$(cat <&3); do
	echo "took $job" >> "$2"
	echo ack >&3 && echo "did $job" >> "$2"
done`

// A leaseStorm is workers on one mailbox that are killed at random, each replaced by another.
type leaseStorm struct {
	t      testing.TB
	mb     *mailbox
	argv   func(log string, seed uint64) []string
	random *rand.Rand
	logs   string

	workers []*client // who runs now
	started int
	killed  int
}

func (s *leaseStorm) start() *client {
	s.started++
	return command{argv: s.argv(filepath.Join(s.logs, number(s.started)), s.random.Uint64()), stdin: []byte{}}.run(s.t)
}

func (s *leaseStorm) replace(i int) {
	s.t.Helper()
	c := s.workers[i]
	if c.hasExited() {
		s.t.Fatalf("%v gave up: %s", c, c.stderr)
	}
	c.kill()
	s.killed++
	s.workers[i] = s.start()
}

// blow has the messages done, with kills in between.
func (s *leaseStorm) blow(workers, messages, kills int) {
	s.t.Helper()
	for range workers {
		s.workers = append(s.workers, s.start())
	}
	// Progress of the mailbox is the clock of the kills.
	reach := func(want int) {
		s.t.Helper()
		eventually(s.t, func() string {
			if stat := s.mb.stat(); stat["received"] < want {
				return fmt.Sprintf("%d messages of %d done, the storm stands still: %v", stat["received"], want, stat)
			}
			return ""
		})
	}
	for i := range kills {
		reach(messages * i / kills)
		s.replace(s.random.IntN(workers))
	}
	reach(messages)
	for i, c := range s.workers {
		if c.hasExited() {
			s.t.Fatalf("worker %d, %v, gave up: %s", i, c, c.stderr)
		}
		c.kill()
		s.killed++
	}
	// The cat of a killed shell goes on waiting.
	eventually(s.t, func() string {
		for _, w := range s.mb.waiters() {
			_ = syscall.Kill(w.pid, syscall.SIGKILL)
		}
		return s.mb.statComplaint([]string{"open_receivers 0"})
	})
}

// check holds the logs against what the mailbox counts.
func (s *leaseStorm) check(messages int) {
	t := s.t
	t.Helper()
	took, did, back, total := map[string]int{}, map[string]int{}, 0, 0
	for i := range s.started {
		text, err := os.ReadFile(filepath.Join(s.logs, number(i+1)))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			switch word, job, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); word {
			case "took":
				took[job]++
				total++
			case "did":
				did[job]++
			case "back":
				back++
			default:
				t.Fatalf("the log of worker %d has the line %q", i+1, line)
			}
		}
	}
	s.mb.wantStat("sent "+number(messages), "received "+number(messages), "messages 0", "bytes 0", "leased 0", "dropped 0", "expired 0")
	s.mb.addsUp()
	// Each is acknowledged exactly once; who was killed may not have lived to log its last.
	var undone []string
	for i := range messages {
		job := number(i)
		if did[job] > 1 {
			t.Errorf("message %s was acknowledged %d times", job, did[job])
		}
		if did[job] == 0 {
			undone = append(undone, job)
		}
		if did[job] > 0 && took[job] == 0 {
			t.Errorf("message %s was acknowledged by nobody who took it", job)
		}
		delete(took, job)
	}
	if len(took) > 0 {
		t.Errorf("%d messages were taken that nobody has sent: %v", len(took), took)
	}
	if len(undone) > s.killed {
		t.Errorf("the logs of %d killed workers miss %d messages: %v", s.killed, len(undone), undone)
	}
	// What was redelivered was taken once more. Nobody returns but who said so, who was killed, and the cat of a killed
	// shell, which may take one more message and finds nobody to pass it to.
	redelivered := s.mb.stat()["redelivered"]
	if total > messages+redelivered || total < messages+redelivered-2*s.killed {
		t.Errorf("%d messages, redelivered %d times, were taken %d times, by workers of which %d were killed", messages, redelivered, total, s.killed)
	}
	if redelivered < back || redelivered > back+2*s.killed {
		t.Errorf("%d were redelivered, of which %d were returned, by workers of which %d were killed", redelivered, back, s.killed)
	}
	if !testing.Short() && redelivered == back {
		t.Errorf("of %d kills none hit a worker with a message", s.killed)
	}
	t.Logf("%d messages by %d workers, %d killed: taken %d times, redelivered %d times, %d of them returned; %d acks not logged",
		messages, s.started, s.killed, total, redelivered, back, len(undone))
}

func (s *leaseStorm) run(workers, messages, kills int) {
	s.t.Helper()
	if testing.Short() {
		messages, kills = messages/10, kills/4
	}
	m := s.mb.m
	s.mb.set("capacity", "max")
	var all []string
	for i := range messages {
		all = append(all, number(i))
	}
	before := m.atRest(s.t)
	s.mb.put(all...)
	start := time.Now()
	s.blow(workers, messages, kills)
	s.t.Logf("it took %v", time.Since(start).Round(time.Millisecond))
	s.check(messages)
	if stat := m.daemonStat(s.t); stat["messages"] != 0 || stat["bytes"] != 0 {
		s.t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
	}
	m.leavesNothingBehind(s.t, before)
}

func TestLeasesLoseNothingThoughWorkersAreKilled(t *testing.T) {
	// Not parallel: it is to have the machine for itself.
	seed := stormSeed(t)
	mb := mount(t).mailbox(t, directory, "jobs")
	s := &leaseStorm{t: t, mb: mb, logs: t.TempDir(), random: rand.New(rand.NewPCG(seed, 2)),
		argv: func(log string, seed uint64) []string {
			return goCommand("Lease", mb.leaseFile(), log, strconv.FormatUint(seed, 10))
		}}
	s.run(8, 10000, 120)
}

func TestLeasesOfTheShellLoseNothingThoughWorkersAreKilled(t *testing.T) {
	seed := stormSeed(t)
	mb := mount(t).mailbox(t, flat, "jobs")
	s := &leaseStorm{t: t, mb: mb, logs: t.TempDir(), random: rand.New(rand.NewPCG(seed, 3)),
		argv: func(log string, _ uint64) []string {
			return []string{"bash", "-c", shellLease, "worker", mb.leaseFile(), log}
		}}
	s.run(6, 400, 40)
}
