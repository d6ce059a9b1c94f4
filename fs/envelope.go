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

// maxBody is the longest segment in bytes that an envelope of it contains.
const maxBody = 1 << 20

// body returns the bytes of m unless they are a segment that is too long.
func body(m *mailbox.Message) (data []byte, ok bool) {
	switch size := m.Size(); {
	case size == int64(len(m.Data)):
		return m.Data, true
	case size > maxBody:
		return nil, false
	default:
		data = make([]byte, size)
		n, errno := m.ReadAt(data, 0)
		return data[:n], errno == 0
	}
}

// envelope is what the file of that name gives for a message: one line of JSON.
func envelope(m *mailbox.Message) []byte {
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
		Pid:  leader(m.Sender.Pid), Uid: m.Sender.Uid, Gid: m.Sender.Gid, Size: m.Size(),
		Returned: m.Deliveries,
	}
	if w := m.Writer(); w != nil {
		line.Writer = &person{leader(w.Pid), w.Uid}
	}
	switch data, ok := body(m); {
	case !ok:
	case utf8.Valid(data):
		text := string(data)
		line.Body = &text
	default:
		line.Base64 = data
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(line) // of such fields it cannot fail
	return b.Bytes()
}

// receipt is the line that the sender of a message reads about it: what became of it, by
// which process and user, and when.
func receipt(fate mailbox.Fate, by objects.Caller, at objects.Time) []byte {
	if fate != mailbox.Received {
		return fmt.Appendf(nil, "%s - - %s\n", fate, timestamp(at))
	}
	return fmt.Appendf(nil, "%s %d %d %s\n", fate, leader(by.Pid), by.Uid, timestamp(at))
}

// timestamp is a time as RFC 3339 has it.
func timestamp(t objects.Time) string { return wall.at(t).UTC().Format(time.RFC3339Nano) }
