package mailbox

import (
	"fmt"
	"strings"
	"testing"

	"ipcfs/objects"
)

func TestMessageEntersNoStateThatCannotFollow(t *testing.T) {
	for from := range states {
		for to := range states {
			b := New(objects.Unlimited)
			m := &Message{Seq: 7, state: from}
			b.in[from] = 1
			got := func() (said string) {
				defer func() {
					if p := recover(); p != nil {
						said = p.(string)
					}
				}()
				b.enter(m, to)
				return ""
			}()
			switch allowed := becomes[from]&(1<<to) != 0; {
			case allowed && (got != "" || m.state != to):
				t.Errorf("%s to %s: %s, %q; want no panic", from, to, m.state, got)
			case !allowed && got != fmt.Sprintf("mailbox: message 7 is %s and cannot become %s", from, to):
				t.Errorf("%s to %s: %q; want a panic that names both", from, to, got)
			}
		}
	}
}

func TestRetiredMessageIsRetiredOnce(t *testing.T) {
	b := New(objects.Unlimited)
	m := &Message{}
	b.unsend(m)
	defer func() {
		if recover() == nil {
			t.Error("a message was retired twice")
		}
	}()
	b.unsend(m)
}

func TestCheckNoticesAMessageThatIsNotInThePlaceOfItsState(t *testing.T) {
	for name, spoil := range map[string]func(b *Mailbox, m *Message){
		"its state is leased": func(b *Mailbox, m *Message) { b.enter(m, leased) },
		"counted [":           func(b *Mailbox, m *Message) { b.held.remove(m) },
		"off the books":       func(b *Mailbox, m *Message) { m.booked = 0 },
	} {
		b := mailbox(t)
		b.Submit(0, send("x"))
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		spoil(b, b.Message(1))
		if err := b.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Check = %v; want %q", err, name)
		}
	}
}
