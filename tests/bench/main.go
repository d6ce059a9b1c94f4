// Bench measures ipcfs against its peers, on real mounts, with clients and servers
// in processes of their own:
//
//   - a null read and write through package fusedev, against go-fuse's stock server
//     serving the same file;
//   - a ping-pong between two processes over two mailboxes, against the same
//     mailboxes behind go-fuse's stock server, POSIX message queues and FIFOs;
//   - what parked readers cost the daemon's memory and everybody else's latency, and
//     what it costs them to open a file all at once;
//   - what a flood of one user's messages costs a ping-pong of another's, against none, and
//     against processes that are as busy outside of the mount;
//   - the open, write and close of a shell that sends a message;
//   - the memory, the reads and writes and the creation of segments, against /dev/shm,
//     and sending 1 GiB of memory as a message, against sending nothing;
//   - streams through pipes, against FIFOs and the bare connection.
//
// The peers take turns in many short rounds of one run, so that whatever else the
// machine does hits them alike. What counts is the ratio of their medians; the
// times hold for the machine named above the table and no other.
//
// The clients are C programs, built by the first gcc that is found.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A plan says how much to measure.
type plan struct {
	rounds int // turns of each peer
	ops    int // operations a turn
	parked int // readers that wait
	cycles int // times they come and go
}

var (
	full  = plan{rounds: 60, ops: 500, parked: 10000, cycles: 3}
	quick = plan{rounds: 8, ops: 200, parked: 1000, cycles: 1}
)

// parts are what can be measured, in this order.
var parts = []struct {
	name    string
	measure func(*bench) error
}{
	{"null", (*bench).null},
	{"pingpong", (*bench).pingPong},
	{"parked", (*bench).parked},
	{"users", (*bench).users},
	{"send", (*bench).send},
	{"segments", (*bench).segments},
	{"pipes", (*bench).pipes},
}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func main() {
	// Children die with the thread that started them: prctl(2), PR_SET_PDEATHSIG.
	runtime.LockOSThread()
	if len(os.Args) == 4 && os.Args[1] == serveWord {
		if err := serve(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintf(os.Stderr, "bench: serve %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	short := flag.Bool("quick", false, "few and short rounds, to see that it runs")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	program := flag.String("ipcfs", "", "measure this `program` instead of building the one in the tree")
	other := flag.String("peer", "", "another build of ipcfs, a `program`, to compare ping-pong and pipes with")
	only := flag.String("only", strings.Join(partNames(), ","), "measure these `parts`")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	p := full
	if *short {
		p = quick
	}
	r, err := run(p, config{program: *program, other: *other, parts: strings.Split(*only, ",")})
	if err == nil {
		err = r.print(os.Stdout, *asJSON)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A config says what to measure.
type config struct {
	program string   // the ipcfs to measure, empty to build it
	other   string   // another one
	parts   []string // names of parts
}

// A bench is one run.
type bench struct {
	plan
	config
	*workshop
	report report
}

// run measures the parts and leaves nothing mounted or running.
func run(p plan, c config) (_ *report, err error) {
	for _, name := range c.parts {
		if !slices.Contains(partNames(), name) {
			return nil, fmt.Errorf("unknown part %q; there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	w, err := newWorkshop()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case s := <-signals:
			w.abort(fmt.Errorf("ended by a signal: %v", s))
		case <-over:
		}
	}()
	b := &bench{plan: p, config: c, workshop: w, report: report{Machine: thisMachine(), plan: p}}
	for _, program := range []*string{&b.program, &b.other} {
		if *program != "" { // children start elsewhere
			if *program, err = filepath.Abs(*program); err != nil {
				return nil, err
			}
		}
	}
	if b.program == "" {
		if b.program, err = w.build("ipcfs", "go", "build", "-buildvcs=false", "-o", "OUTPUT", "ipcfs/cmd/ipcfs"); err != nil {
			return nil, err
		}
	}
	for _, part := range parts {
		if slices.Contains(c.parts, part.name) {
			if err := part.measure(b); err != nil {
				return nil, fmt.Errorf("%s: %w", part.name, w.cause(err))
			}
		}
	}
	return &b.report, nil
}

// print writes the report as a table or as JSON.
func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err := io.WriteString(w, r.table())
	return err
}
