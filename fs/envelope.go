package fs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// envelope is what the file of that name gives for a message, a *mailbox.Envelope: one line
// of JSON.
func envelope(what any) []byte {
	m := what.(*mailbox.Envelope)
	type person struct {
		Pid uint32 `json:"pid"`
		Uid uint32 `json:"uid"`
	}
	line := struct {
		Seq      uint64  `json:"seq"`
		Priority uint8   `json:"priority"`
		Urgent   bool    `json:"urgent,omitempty"`
		Topic    string  `json:"topic"`
		Sent     string  `json:"sent"`
		Pid      uint32  `json:"pid"`
		Uid      uint32  `json:"uid"`
		Gid      uint32  `json:"gid"`
		Writer   *person `json:"writer,omitempty"`
		Size     int64   `json:"size"`
		Body     *string `json:"body,omitempty"`
		Base64   []byte  `json:"body_base64,omitempty"`
		Returned uint32  `json:"deliveries,omitempty"`
	}{
		Seq: m.Seq, Priority: m.Priority, Urgent: m.Urgent, Topic: m.Topic,
		Sent: timestamp(m.Sent),
		Pid:  m.Sender.Pid, Uid: m.Sender.Uid, Gid: m.Sender.Gid, Size: m.Size,
		Returned: m.Deliveries,
	}
	if w := m.Writer; w != nil {
		line.Writer = &person{w.Pid, w.Uid}
	}
	switch {
	case m.Data == nil && m.Size > 0:
	case utf8.Valid(m.Data):
		text := string(m.Data)
		line.Body = &text
	default:
		line.Base64 = m.Data
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(line) // of such fields it cannot fail
	return b.Bytes()
}

// receipt is what the sender of a message reads about it, made of []mailbox.Outcome: a line for
// each thing that became of it, by which process and user, and when.
func receipt(what any) []byte {
	var lines []byte
	for _, o := range what.([]mailbox.Outcome) {
		if o.Fate == mailbox.Received {
			lines = fmt.Appendf(lines, "%s %d %d %s\n", o.Fate, o.By.Pid, o.By.Uid, timestamp(o.At))
		} else {
			lines = fmt.Appendf(lines, "%s - - %s\n", o.Fate, timestamp(o.At))
		}
	}
	return lines
}

// timestamp is a time as RFC 3339 has it.
func timestamp(t objects.Time) string { return wall.at(t).UTC().Format(time.RFC3339Nano) }
