package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// listener starts an ipccli that has the endpoint open and performs the operations when it is resumed, and then after
// each of its pauses. They print a line each.
func (mb *mailbox) listener(endpoint string, operations ...string) *client {
	mb.t.Helper()
	before := mb.stat()["open_receivers"]
	c := cli(mb.t, append([]string{"open " + mb.file(endpoint) + " rdonly", "nonblock on", "pause"}, operations...)...)
	c.expect("ok", "ok")
	mb.awaitStat("open_receivers " + number(before+1))
	return c
}

// wantHeard resumes a listener and expects that it then prints "ok", for the pause, and wants.
func (c *client) wantHeard(wants ...string) {
	c.t.Helper()
	c.resume()
	c.expect("ok")
	c.expect(wants...)
}

func TestBroadcastReachesEveryOpenReceiverInOrder(t *testing.T) {
	t.Parallel()
	for _, capacity := range []string{"0", "1", "1024", "max"} {
		t.Run("capacity "+capacity, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.with("receivers", "broadcast", "capacity", capacity)
				const readers, messages = 5, 40
				var all []*client
				for range readers {
					all = append(all, bash(t, "while read -r line; do echo \"got $line\"; done < "+mb.file("stream")))
				}
				mb.awaitOpen(0, readers)
				bash(t, "for i in $(seq "+number(messages)+"); do echo message $i > "+mb.send+"; done").prints("")
				for i := range messages {
					for _, c := range all {
						c.expect("got message " + number(i+1))
					}
				}
				mb.awaitStat("messages 0", "bytes 0", "sent "+number(messages), "dropped 0")
				for _, c := range all {
					mb.parked(c).kill()
				}
				mb.awaitOpen(0, 0)
			})
		})
	}
}

func TestEveryProgramHearsABroadcast(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("receivers", "broadcast")
		message := text(300 << 10)
		var all []*client
		for _, line := range []string{`exec cat "$R"`, `exec dd if="$R" bs=999 status=none`, `exec cat < "$R"`,
			`exec python3 -c 'import os, sys; sys.stdout.write(open(os.environ["R"]).read())'`} {
			all = append(all, command{argv: []string{"bash", "-c", line}, env: []string{"R=" + mb.receive}}.run(t))
		}
		mb.awaitOpen(0, len(all))
		mb.set("framing", "close")
		c := command{argv: []string{"bash", "-c", "exec cat > " + mb.send}, stdin: []byte(message)}.run(t)
		c.prints("")
		for _, c := range all {
			c.prints(message)
		}
		mb.awaitStat("messages 0", "open_receivers 0")
	})
}

func TestASlowReceiverHoldsTheMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "capacity", "1")
		slow := mb.listener("stream", "read 100", "poll in 0", "pause", "read 100", "read 100")
		fast := mb.listener("stream", "read 100", "poll in 0", "read 100", "pause", "poll in 0", "read 100", "pause", "poll in 0", "read 100")
		mb.put("one")
		fast.wantHeard(`"one"`, "none", "EAGAIN") // held still, but it has had it
		mb.wantStat("messages 1", "bytes 3")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write two", "EAGAIN")
		sender := mb.parkSender("two")
		fast.wantHeard("none", "EAGAIN") // it gets the next one with the others
		mb.parked(sender)
		slow.wantHeard(`"one"`, "in")
		sender.expect("3")
		mb.wantStat("messages 1", "senders_waiting 0")
		fast.wantHeard("in", `"two"`)
		slow.wantHeard(`"two"`, "EAGAIN")
		mb.wantStat("messages 0", "sent 2", "dropped 0")
		if stat := mb.m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
			t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
		}
	})
}

func TestAReceiverThatLeavesLetsItsMessagesGo(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(c *client){
		"close": func(c *client) { c.resume(); c.expect("ok", "ok") },
		"exit":  func(c *client) { c.resume(); c.output() },
		"death": func(c *client) { c.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.with("receivers", "broadcast", "capacity", "2")
				slow := mb.listener("receive", "close")
				other := mb.listener("receive", "read 9", "pause", "read 9", "read 9", "pause")
				mb.put("one", "two")
				sender := mb.parkSender("three")
				other.wantHeard(`"one"`)
				mb.parked(sender)
				leave(slow)
				sender.expect("5")
				mb.awaitStat("messages 2", "open_receivers 1")
				other.wantHeard(`""`, `"two"`)
				mb.awaitStat("messages 1", "dropped 0")
				other.kill()
				mb.awaitStat("messages 0", "open_receivers 0", "senders_waiting 0")
			})
		})
	}
}

func TestAMessageThatNobodyIsThereForIsDropped(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("receivers", "broadcast")
		for i, capacity := range []string{"0", "1", "max"} {
			mb.set("capacity", capacity)
			does(t, "open "+mb.send+" wronly", "ok", "write one", "3")
			mb.wantStat("messages 0", "sent "+number(i+1), "dropped "+number(i+1), "received 0")
		}
		// A look is no receiver, and who comes later has missed it.
		peek := held(t, mb.file("peek")+" rdonly")
		mb.put("two")
		mb.wantStat("messages 0", "dropped 4")
		late := mb.listener("receive", "read 9", "pause", "read 9")
		mb.put("three")
		later := mb.listener("receive", "read 9")
		later.wantHeard("EAGAIN")
		late.wantHeard(`"three"`)
		peek.kill()
		mb.wantStat("messages 0", "sent 5", "dropped 4")
	})
}

func TestBroadcastIsForThoseWhoSelectIt(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "order", "priority")
		heard := func(n int) []string { return slices.Repeat([]string{"read 20"}, n) }
		all := mb.listener("stream", heard(7)...)
		// These have an end of file after each message.
		news := mb.listener("topic/news", append(append(heard(3), "pause"), heard(3)...)...)
		seven := mb.listener("priority/7", heard(3)...)
		urgent := mb.listener("urgent", heard(3)...)
		from := mb.listener("from/4242", heard(1)...)
		mb.put("plain")
		mb.putAs("topic/news", "news")
		mb.putAs("topic/rain", "rain")
		mb.putAs("priority/7", "seven")
		mb.putAs("urgent", "fire")
		mb.wantStat("messages 5")
		from.wantHeard("EAGAIN")
		news.wantHeard(`"news"`, `""`, "EAGAIN")
		seven.wantHeard(`"seven"`, `""`, "EAGAIN")
		urgent.wantHeard(`"fire"`, `""`, "EAGAIN")
		all.wantHeard(`"fire"`, `"seven"`, `"plain"`, `"news"`, `"rain"`, "EAGAIN", "EAGAIN")
		mb.wantStat("messages 0", "dropped 0")
		// Nobody is left for the others.
		mb.awaitOpen(0, 1)
		mb.put("plain")
		mb.putAs("topic/rain", "rain")
		mb.putAs("topic/news", "more")
		mb.wantStat("messages 1", "dropped 2")
		news.wantHeard(`"more"`, `""`, "EAGAIN")
	})
}

func TestBroadcastAtARendezvousWaitsForEverybody(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "capacity", "0")
		reads := mb.parkReceiver()
		later := mb.listener("stream", "poll in 0", "read 100", "pause", "read 100", "pause", "read 100", "pause", "read 100", "pause")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write x", "EAGAIN")
		mb.parked(reads)
		sender := mb.parkSender("hello")
		reads.expect(`"hello"`)
		mb.parked(sender)
		later.wantHeard("in", `"hello"`)
		sender.expect("5")
		mb.wantStat("messages 0", "sent 1", "dropped 0")

		// Interrupted or killed before anybody has it, it is not sent; afterwards it is.
		reads.kill()
		mb.awaitOpen(0, 1)
		sender = mb.parkSender("never")
		sender.signal(syscall.SIGUSR1)
		sender.expect("EINTR")
		mb.parkSender("never").kill()
		mb.awaitStat("senders_waiting 0")
		later.wantHeard("EAGAIN")
		for _, end := range []func(c *client){
			func(c *client) { c.signal(syscall.SIGUSR1); c.expect("7") },
			func(c *client) { c.kill() },
		} {
			first, second := mb.listener("stream", "read 100"), mb.listener("stream", "read 100")
			sender = mb.parkSender("delayed")
			first.wantHeard(`"delayed"`)
			mb.parked(sender)
			end(sender)
			mb.gone(sender)
			second.wantHeard(`"delayed"`)
			later.wantHeard(`"delayed"`)
			mb.awaitOpen(0, 1)
		}
		mb.wantStat("messages 0", "sent 3", "dropped 0")
	})
}

func TestBroadcastAtARendezvousIsOverWhenTheLastReceiverLeaves(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "capacity", "0")
		reads, never := mb.parkReceiver(), mb.listener("receive")
		sender := mb.parkSender("hello")
		reads.expect(`"hello"`)
		never.kill()
		sender.expect("5")
		mb.awaitStat("messages 0", "sent 1", "open_receivers 0", "senders_waiting 0")
	})
}

func TestWhatIsTakenAwayIsTakenFromThoseWhoHadNotGotIt(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(mb *mailbox){
		"rm":          func(mb *mailbox) { does(mb.t, "unlink "+mb.file("messages/1"), "ok") },
		"flush":       func(mb *mailbox) { mb.set("flush", "") },
		"ttl":         func(mb *mailbox) { mb.set("ttl", "1ns"); mb.awaitStat("expired 1"); mb.set("ttl", "max") },
		"drop-oldest": func(mb *mailbox) { mb.with("capacity", "1", "overflow", "drop-oldest") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("receivers", "broadcast")
				fast := mb.listener("stream", "read 9", "pause", "read 9", "read 9")
				slow := mb.listener("stream", "read 9", "read 9")
				mb.put("one")
				fast.wantHeard(`"one"`)
				take(mb)
				mb.put("two")
				mb.wantStat("messages 1")
				slow.wantHeard(`"two"`, "EAGAIN")
				fast.wantHeard(`"two"`, "EAGAIN")
				mb.wantStat("messages 0", "sent 2")
			})
		})
	}
}

func TestOverflowOfABroadcast(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "capacity", "1", "overflow", "fail")
		slow := mb.listener("stream", "read 9", "pause", "read 9")
		mb.put("one")
		does(t, "open "+mb.send+" wronly", "ok", "write two", "EAGAIN")
		mb.set("overflow", "drop-newest")
		does(t, "open "+mb.send+" wronly", "ok", "write two", "3")
		mb.wantStat("messages 1", "dropped 1")
		slow.wantHeard(`"one"`)
		slow.wantHeard("EAGAIN")
	})
}

func TestQueuedMessagesKeepTheRuleTheyWereSentUnder(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("for one")
		mb.set("receivers", "broadcast")
		a := mb.listener("stream", "read 9", "pause", "read 9", "pause", "read 9", "read 9")
		b := mb.listener("stream", "read 9", "read 9", "pause", "read 9", "read 9")
		mb.put("for all")
		a.wantHeard(`"for one"`)
		b.wantHeard(`"for all"`, "EAGAIN")
		mb.set("receivers", "any")
		mb.put("for any")
		mb.wantStat("messages 2")
		late := mb.listener("stream", "read 9", "read 9")
		late.wantHeard(`"for any"`, "EAGAIN")
		a.wantHeard(`"for all"`)
		b.wantHeard("EAGAIN", "EAGAIN")
		mb.wantStat("messages 0", "sent 3", "dropped 0")
		a.wantHeard("EAGAIN", "EAGAIN")
	})
}

func TestPollWakesEveryReceiverOfABroadcast(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "capacity", "1")
		var all []*client
		for _, wait := range []string{"poll in -1", "select in -1", "epoll-wait -1", "epoll-wait -1"} {
			events := "epoll-add in"
			if len(all) == 3 {
				events = "epoll-add in|et"
			}
			c := cli(t, "open "+mb.receive+" rdonly|nonblock", events, wait, "read 9", "poll in 0")
			c.expect("ok", "ok")
			c.asleep()
			all = append(all, c)
		}
		poller := cli(t, "open "+mb.send+" wronly|nonblock", "write one", "poll out -1")
		poller.expect("ok", "3")
		for _, c := range all {
			c.expect("in", `"one"`, "none")
		}
		poller.expect("out")
	})
}

func TestAHeldBroadcastIsOnTheBooksOnce(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, directory, "jobs").with("receivers", "broadcast")
	does(t, "chmod "+mb.send+" 622", "ok")
	m.limit(t, "user_messages 1")
	a, b := mb.listener("stream", "read 9"), mb.listener("stream", "read 9")
	open := "open " + mb.send + " wronly"
	doesAs(t, nobody(t), open, "ok", "write one", "3", "write two", "EDQUOT")
	if stat := m.daemonStat(t); stat["messages"] != 1 || stat["bytes"] != 3 {
		t.Errorf(".ipcfs/stat = %v, want one message of 3 bytes", stat)
	}
	a.wantHeard(`"one"`)
	doesAs(t, nobody(t), open, "ok", "write two", "EDQUOT")
	b.wantHeard(`"one"`)
	doesAs(t, nobody(t), open, "ok", "write two", "3")
}

func TestLeaseAndBroadcastExcludeOneAnother(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("receivers", "broadcast")
		does(t, "open "+mb.file("lease")+" rdwr", "EOPNOTSUPP", "open "+mb.file("lease")+" rdwr|nonblock", "EOPNOTSUPP")
		mb.wantStat("open_receivers 0")
		mb.set("receivers", "any")
		c := held(t, mb.file("lease")+" rdwr")
		does(t, "open "+mb.file("receivers")+" wronly", "ok", "write broadcast", "EBUSY", "write pair", "4")
		mb.wantPolicy("receivers", "pair")
		c.kill()
		eventually(t, func() string {
			return performs(t, nil, "open "+mb.file("receivers")+" wronly", "ok", "write broadcast", "9")
		})
		mb.wantPolicy("receivers", "broadcast")
	})
}

func TestFramedBroadcast(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "framing", "line", "capacity", "1")
		a := bash(t, "while read -r line; do echo \"a $line\"; done < "+mb.file("stream"))
		b := bash(t, "while read -r line; do echo \"b $line\"; done < "+mb.file("stream"))
		mb.awaitOpen(0, 2)
		bash(t, `printf 'one\ntwo\nthree' | cat > `+mb.send).prints("")
		a.expect("a one", "a two")
		b.expect("b one", "b two")
		mb.awaitStat("sent 3", "messages 0")
		// The receivers are those of when the message is whole.
		mb.set("framing", "close")
		c := mb.writer("write be", "pause", `write gun\n`, "close", "pause")
		c.expect("2")
		b.kill()
		mb.awaitOpen(1, 1)
		late := mb.listener("stream", "read 100")
		c.resume()
		c.expect("ok", "4", "ok")
		a.expect("a threebegun")
		late.wantHeard(`"begun\n"`)
		mb.awaitStat("messages 0", "sent 4")
	})
}

func TestMessagesMovedIntoABroadcastReachEverybody(t *testing.T) {
	t.Parallel()
	m := mount(t)
	from, mb := m.mailbox(t, directory, "from"), m.mailbox(t, directory, "to").with("receivers", "broadcast")
	from.put("moved")
	a, b := mb.parkReceiver(), mb.parkReceiver()
	does(t, "rename "+from.file("messages/1")+" "+mb.file("messages/1"), "ok")
	a.expect(`"moved"`)
	b.expect(`"moved"`)
	mb.wantStat("messages 0")
}

func TestARendezvousThatIsOneNoMoreLetsItsSenderGo(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(mb *mailbox){
		"by a capacity":           func(mb *mailbox) { mb.set("capacity", "5") },
		"by a capacity of max":    func(mb *mailbox) { mb.set("capacity", "max") },
		"by receivers any":        func(mb *mailbox) { mb.set("receivers", "any") },
		"by overflow of fail":     func(mb *mailbox) { mb.set("overflow", "fail") },
		"by overflow of dropping": func(mb *mailbox) { mb.set("overflow", "drop-newest") },
		"by nothing":              func(mb *mailbox) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.with("receivers", "broadcast", "capacity", "0")
				first, second := mb.listener("stream", "read 9", "pause"), mb.listener("stream", "read 9", "pause")
				sender := mb.parkSender("hello")
				first.wantHeard(`"hello"`)
				change(mb)
				second.wantHeard(`"hello"`) // what has begun is completed
				sender.expect("5")
				mb.awaitStat("messages 0", "bytes 0", "sent 1", "dropped 0", "senders_waiting 0")
				if stat := mb.m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
					t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
				}
			})
		})
	}
}

// Receivers come and go, some by SIGKILL; those who stay hear everything.
func TestReceiversWhoStayHearEveryBroadcastWhoeverIsKilled(t *testing.T) {
	seed := stormSeed(t)
	for _, capacity := range []string{"0", "1", "8", "max"} {
		t.Run("capacity "+capacity, func(t *testing.T) {
			const senders, stay, come, kills = 3, 3, 4, 60
			messages := 600
			if testing.Short() {
				messages = 60
			}
			m := mount(t)
			mb := m.mailbox(t, directory, "news").with("receivers", "broadcast", "capacity", capacity)
			before := m.atRest(t)
			random, logs := rand.New(rand.NewPCG(seed, 4)), t.TempDir()
			receiver := func(name string) *client {
				return command{argv: []string{stormBin, "receive", mb.file("stream"), filepath.Join(logs, name)}, stdin: []byte{}}.run(t)
			}
			var staying, coming []*client
			for i := range stay {
				staying = append(staying, receiver("stay"+number(i)))
			}
			mb.awaitOpen(0, stay)
			for i := range come {
				coming = append(coming, receiver("come"+number(i)))
			}
			var sending []*client
			for i := range senders {
				name := "s" + number(i)
				sending = append(sending, command{argv: []string{stormBin, "send", mb.send, filepath.Join(logs, name), name, number(messages)}, stdin: []byte{}}.run(t))
			}
			for i := range kills {
				eventually(t, func() string {
					if sent := mb.stat()["sent"]; sent < senders*messages*i/kills {
						return fmt.Sprintf("%d of %d sent, the storm stands still", sent, senders*messages)
					}
					return ""
				})
				j := random.IntN(come)
				coming[j].kill()
				coming[j] = receiver("come" + number(come+i))
			}
			for _, c := range sending {
				c.prints("")
			}
			mb.awaitStat("messages 0", "sent "+number(senders*messages), "dropped 0", "receivers_waiting "+number(stay+come))
			for i := range stay {
				text, err := os.ReadFile(filepath.Join(logs, "stay"+number(i)))
				if err != nil {
					t.Fatal(err)
				}
				heard := map[string]int{}
				for _, msg := range stormMessages(t, string(text)) {
					if msg.number != heard[msg.sender] {
						t.Fatalf("receiver %d heard %v after %d of that sender", i, msg, heard[msg.sender])
					}
					heard[msg.sender]++
				}
				for s := range senders {
					if n := heard["s"+number(s)]; n != messages {
						t.Errorf("receiver %d heard %d of s%d, want %d", i, n, s, messages)
					}
				}
			}
			for _, c := range append(staying, coming...) {
				c.kill()
			}
			m.leavesNothingBehind(t, before)
			if stat := m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
				t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
			}
		})
	}
}
