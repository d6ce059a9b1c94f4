package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A storm is many senders and receivers on one mailbox, of which some are killed at random, each replaced by another.
type storm struct {
	t      testing.TB
	mb     *mailbox
	logs   string
	random *rand.Rand
	gate   *os.File // standard input of all

	senders, receivers       []*stormClient // who runs now
	allSenders, allReceivers []*stormClient // and who ever did
	killedSenders            int
	killedReceivers          []*stormClient
}

// A stormClient is one process. What it did is in its log, also when it was killed.
type stormClient struct {
	*client
	name  string
	log   string
	share int // messages a sender is to send
}

// A stormMessage is what storm.c sends: the sender's name and its count.
type stormMessage struct {
	sender string
	number int
}

// done reads the client's log.
func (c *stormClient) done() []stormMessage {
	c.t.Helper()
	text, err := os.ReadFile(c.log)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return stormMessages(c.t, string(text))
}

func stormMessages(t testing.TB, text string) []stormMessage {
	t.Helper()
	var all []stormMessage
	for line := range strings.Lines(text) {
		sender, number, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%q is not a message anybody sent", line)
		}
		all = append(all, stormMessage{sender, n})
	}
	return all
}

func (s *storm) startSender(share int) *stormClient {
	name := fmt.Sprintf("s%d", len(s.allSenders))
	c := &stormClient{name: name, log: filepath.Join(s.logs, name), share: share}
	c.client = command{argv: []string{stormBin, "send", s.mb.send, c.log, name, number(share)}, gate: s.gate}.run(s.t)
	s.allSenders = append(s.allSenders, c)
	return c
}

func (s *storm) startReceiver() *stormClient {
	name := fmt.Sprintf("r%d", len(s.allReceivers))
	// Every other one receives with an end of file after each message.
	path := s.mb.receive
	if len(s.allReceivers)%2 == 0 {
		path = s.mb.file("stream")
	}
	c := &stormClient{name: name, log: filepath.Join(s.logs, name)}
	c.client = command{argv: []string{stormBin, "receive", path, c.log}, gate: s.gate}.run(s.t)
	s.allReceivers = append(s.allReceivers, c)
	return c
}

// killSome kills n random clients at one stroke and then starts others in their places, which do what the dead have
// left.
func (s *storm) killSome(n int) {
	s.t.Helper()
	var senders, receivers []int
	for range n {
		if i := s.random.IntN(len(s.senders)); s.random.IntN(2) == 0 && !s.senders[i].hasExited() {
			s.senders[i].signal(syscall.SIGKILL)
			senders = append(senders, i)
		} else {
			i := s.random.IntN(len(s.receivers))
			s.receivers[i].signal(syscall.SIGKILL)
			receivers = append(receivers, i)
		}
	}
	for _, i := range slices.Compact(slices.Sorted(slices.Values(receivers))) {
		s.receivers[i].kill()
		s.killedReceivers = append(s.killedReceivers, s.receivers[i])
		s.receivers[i] = s.startReceiver()
	}
	for _, i := range slices.Compact(slices.Sorted(slices.Values(senders))) {
		c := s.senders[i]
		c.kill()
		if c.cmd.ProcessState.ExitCode() == 0 {
			continue // it was done before the signal came
		}
		s.killedSenders++
		if left := c.share - len(c.done()); left > 0 {
			s.senders[i] = s.startSender(left)
		}
	}
}

// sending says how many senders are at work, and fails for a client that gave up.
func (s *storm) sending() int {
	s.t.Helper()
	n := 0
	for _, c := range s.senders {
		if !c.hasExited() {
			n++
		} else if c.cmd.ProcessState.ExitCode() > 0 {
			s.t.Fatalf("%v gave up: %s", c, c.stderr)
		}
	}
	for _, c := range s.receivers {
		if c.hasExited() {
			s.t.Fatalf("%v gave up: %s", c, c.stderr)
		}
	}
	return n
}

// stormSeed is what the kills of a test follow.
func stormSeed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("IPCFS_TEST_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the kills follow IPCFS_TEST_SEED=%d", seed)
	return seed
}

// stormScale is how many times longer than usual a storm is to be: make storm says.
func stormScale(t testing.TB) int {
	t.Helper()
	given := os.Getenv("IPCFS_STORM_SCALE")
	if given == "" {
		return 1
	}
	scale, err := strconv.Atoi(given)
	if err != nil || scale < 1 {
		t.Fatalf("IPCFS_STORM_SCALE is %q, want a number from 1 on", given)
	}
	return scale
}

func TestStormLosesAndDoublesNothing(t *testing.T) {
	// Not parallel: it is to have the machine for itself.
	const clients = 64
	rows := []struct {
		shape, capacity string
		messages, kills int
	}{
		{flat, "32", 10000, 200},
		{directory, "0", 2000, 60},
		{directory, "max", 2000, 60},
	}
	seed := stormSeed(t)
	scale := stormScale(t)
	for _, row := range rows {
		t.Run(row.shape+", capacity "+row.capacity, func(t *testing.T) {
			messages, kills := row.messages*scale, row.kills*scale
			if testing.Short() {
				messages, kills = messages/10, kills/4
			}
			m := mount(t)
			mb := m.mailbox(t, row.shape, "storm").with("capacity", row.capacity)
			before := m.atRest(t)
			s := &storm{t: t, mb: mb, logs: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0))}
			s.blow(clients, messages, kills)
			s.end()
			s.check(messages)
			m.leavesNothingBehind(t, before)
		})
	}
}

// blow runs the storm, up to its last stroke.
func (s *storm) blow(clients, messages, kills int) {
	s.t.Helper()
	gate, open, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.gate = gate
	for i := range clients {
		s.receivers = append(s.receivers, s.startReceiver())
		s.senders = append(s.senders, s.startSender(messages*(i+1)/clients-messages*i/clients))
	}
	open.Close()
	const stroke = 8
	for i := range kills / stroke {
		// Progress of the mailbox is the clock of the kills.
		eventually(s.t, func() string {
			if got, want := s.mb.stat()["received"], messages*i*stroke/kills; got < want && s.sending() > 0 {
				return fmt.Sprintf("%d messages of %d received, the storm stands still", got, want)
			}
			return ""
		})
		s.killSome(stroke)
	}
}

// end kills the receivers, lets the senders finish and kills nobody any more.
func (s *storm) end() {
	s.t.Helper()
	for _, c := range s.receivers {
		c.signal(syscall.SIGKILL)
	}
	for _, c := range s.receivers {
		c.kill()
		s.killedReceivers = append(s.killedReceivers, c)
	}
	s.receivers = nil
	s.mb.set("capacity", "max")
	// What is sent with nobody to receive it stays queued.
	for range 8 {
		s.senders = append(s.senders, s.startSender(20))
	}
	last := s.senders[len(s.senders)-1]
	last.kill()
	eventually(s.t, func() string {
		if n := s.sending(); n > 0 {
			return fmt.Sprintf("%d senders do not finish", n)
		}
		return ""
	})
}

// check holds what was sent against what was received.
func (s *storm) check(messages int) {
	t := s.t
	t.Helper()
	stat := s.mb.stat()
	queued := stormMessages(t, strings.Join(s.mb.take(), ""))

	// Who has sent what: below sure it has, and at sure it may have.
	sure := make(map[string]int)
	total := 0
	for _, c := range s.allSenders {
		sent := c.done()
		for i, msg := range sent {
			if msg != (stormMessage{c.name, i}) {
				t.Fatalf("the log of %s has %v at %d", c.name, msg, i)
			}
		}
		sure[c.name] = len(sent)
		total += len(sent)
	}
	if total < messages {
		t.Errorf("%d sends succeeded, want %d", total, messages)
	}

	where := make(map[stormMessage]string)
	receive := func(by string, all []stormMessage) {
		last := make(map[string]int)
		for _, msg := range all {
			if other, twice := where[msg]; twice {
				t.Errorf("message %v was received twice: by %s and by %s", msg, other, by)
			}
			where[msg] = by
			if n, ok := sure[msg.sender]; !ok || msg.number > n {
				t.Errorf("%s received %v, of which %d were sent", by, msg, n)
			}
			// Each receiver sees each sender's messages in their order.
			if n, ok := last[msg.sender]; ok && n >= msg.number {
				t.Errorf("%s received %v after number %d of the same sender", by, msg, n)
			}
			last[msg.sender] = msg.number
		}
	}
	for _, c := range s.allReceivers {
		receive(c.name, c.done())
	}
	receive("the queue", queued)

	// A killed receiver may have taken one message that it did not live to log.
	var lost []stormMessage
	for sender, n := range sure {
		for i := range n {
			if _, ok := where[stormMessage{sender, i}]; !ok {
				lost = append(lost, stormMessage{sender, i})
			}
		}
	}
	if len(lost) > len(s.killedReceivers) {
		t.Errorf("%d messages were lost, by %d receivers that were killed: %v", len(lost), len(s.killedReceivers), lost)
	}
	// What the mailbox counts agrees: with each message delivered to somebody, dead or alive.
	if stat["sent"] != stat["received"]+len(queued) || stat["dropped"] != 0 || stat["messages"] != len(queued) {
		t.Errorf("stat = %v with %d queued, want sent = received + queued and nothing dropped", stat, len(queued))
	}
	if delivered := len(where) - len(queued); stat["received"] < delivered || stat["received"] > delivered+len(s.killedReceivers) {
		t.Errorf("received %d, by the logs %d and up to %d receivers killed", stat["received"], delivered, len(s.killedReceivers))
	}
	t.Logf("%d sent by %d senders, of which %d were killed; %d lost by %d receivers, of which %d were killed; %d still queued",
		stat["sent"], len(s.allSenders), s.killedSenders, len(lost), len(s.allReceivers), len(s.killedReceivers), len(queued))
}
