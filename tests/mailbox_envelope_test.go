package tests

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestEnvelopeTellsAllOfAMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		start := time.Now().Add(-time.Millisecond)
		binary := "\xff\x00\xfe"
		mb.put("hello <\"world\">\n")
		mb.putAs("priority/7", "seven")
		mb.putAs("topic/news", "news")
		mb.putAs("urgent", binary)
		large := text(maxMessage)
		mb.put(large)
		type line struct {
			Seq, Priority, Pid, Uid, Gid, Size int
			Urgent                             bool
			Topic                              string
			Sent                               time.Time
			Body                               *string
			Base64                             []byte `json:"body_base64"`
		}
		body := func(s string) *string { return &s }
		for _, want := range []line{
			{Seq: 4, Urgent: true, Base64: []byte(binary)},
			{Seq: 1, Body: body("hello <\"world\">\n")},
			{Seq: 2, Priority: 7, Body: body("seven")},
			{Seq: 3, Topic: "news", Body: body("news")},
			{Seq: 5, Body: &large},
		} {
			b, err := os.ReadFile(mb.file("envelope"))
			if err != nil {
				t.Fatal(err)
			}
			var got line
			if err := json.Unmarshal(b, &got); err != nil || strings.Count(string(b), "\n") != 1 {
				t.Fatalf("envelope gave %s: %v; want one line of JSON", brief(b), err)
			}
			if got.Sent.Before(start) || got.Sent.After(time.Now()) {
				t.Errorf("sent %v, want now", got.Sent)
			}
			if got.Body != nil && want.Body != nil && *got.Body == *want.Body {
				got.Body, want.Body = nil, nil
			}
			if got.Seq != want.Seq || got.Priority != want.Priority || got.Urgent != want.Urgent || got.Topic != want.Topic ||
				got.Pid != os.Getpid() || got.Uid != os.Getuid() || got.Gid != os.Getgid() ||
				got.Body != want.Body || string(got.Base64) != string(want.Base64) {
				t.Errorf("envelope gave %s, want %+v", brief(b), want)
			}
		}
		mb.wantStat("messages 0", "received 5")
	})
}

func TestEnvelopeReadInPartsIsOneLine(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := bash(t, "exec dd bs=7 status=none < "+mb.file("envelope"))
		mb.parked(c)
		mb.put("hello")
		if got := c.output(); !strings.HasPrefix(got, `{"seq":1,`) || !strings.HasSuffix(got, `"body":"hello"}`+"\n") {
			t.Errorf("in parts it is %s", got)
		}
		does(t, "open "+mb.file("envelope")+" wronly", "EACCES", "open "+mb.file("envelope")+" rdonly|nonblock", "ok", "read 9", "EAGAIN")
	})
}
