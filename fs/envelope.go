package fs

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"ipcfs/objects"
)

// envelope is what the file of that name gives for a message: one line of JSON.
func envelope(m *objects.Message) []byte {
	pid, _ := process(m.Sender.Pid)
	line := struct {
		Seq      uint64  `json:"seq"`
		Priority uint8   `json:"priority"`
		Urgent   bool    `json:"urgent,omitempty"`
		Topic    string  `json:"topic"`
		Sent     string  `json:"sent"`
		Pid      uint32  `json:"pid"`
		Uid      uint32  `json:"uid"`
		Gid      uint32  `json:"gid"`
		Size     int     `json:"size"`
		Body     *string `json:"body,omitempty"`
		Base64   []byte  `json:"body_base64,omitempty"`
	}{
		Seq: m.Seq, Priority: m.Priority, Urgent: m.Urgent, Topic: m.Topic,
		Sent: time.Unix(0, int64(m.Sent)).UTC().Format(time.RFC3339Nano),
		Pid:  pid, Uid: m.Sender.Uid, Gid: m.Sender.Gid, Size: len(m.Data),
	}
	if utf8.Valid(m.Data) {
		body := string(m.Data)
		line.Body = &body
	} else {
		line.Base64 = m.Data
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(line) // of such fields it cannot fail
	return b.Bytes()
}
