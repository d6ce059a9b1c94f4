package fs

import "ipcfs/objects"

func init() {
	present(presentation{
		kind: "mailbox",
		dir:  "mailboxes",
		flat: spec{read: objects.Receive, write: objects.Send, eof: true},
		files: []spec{
			{name: "send", mode: 0o200, write: objects.Send},
			{name: "receive", mode: 0o400, read: objects.Receive, eof: true},
			{name: "stream", mode: 0o400, read: objects.Receive},
			{name: "peek", mode: 0o400, read: objects.Peek, eof: true},
			{name: "flush", mode: 0o200, set: command(objects.Flush)},
		},
	})
}
