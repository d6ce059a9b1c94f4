package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestShellSessions runs testdata/*.txtar: what a person types, line by line. In a script $IPC is a mount of its own, $UID the user's number.
// Besides the commands of testscript there are
//
//	$ LINE               runs LINE with bash in $IPC; stdout and stderr then check what it printed
//	! $ LINE             the same, and it must fail
//	waiters OBJECT N     waits until N requests are blocked on OBJECT, "mailboxes/jobs" for example
//
// A line that blocks runs in the background, as "exec bash -c '…' &name&" and "wait name".
func TestShellSessions(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			dir, err := newEmptyDir(nil)
			if err != nil {
				return err
			}
			d, err := startDaemon(dir, nil)
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := d.stop(); err != nil {
					t.Errorf("%s: %v", filepath.Base(env.WorkDir), err)
				}
				if err := os.Remove(dir); err != nil {
					t.Errorf("%s: %v", filepath.Base(env.WorkDir), err)
				}
			})
			env.Setenv("IPC", dir)
			env.Setenv("PATH", filepath.Dir(ipcfsBin)+":"+env.Getenv("PATH"))
			env.Setenv("LC_ALL", "C")
			env.Setenv("UID", strconv.Itoa(os.Getuid()))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"$":       typed,
			"waiters": awaitWaitersOf,
		},
	})
}

func typed(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("timeout", "30", "bash", "-c", "cd \"$IPC\"; "+strings.Join(args, " "))
	if neg && err == nil {
		ts.Fatalf("%v succeeded, want it to fail", args)
	}
	if !neg && err != nil {
		ts.Fatalf("%v: %v", args, err)
	}
}

func awaitWaitersOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waiters OBJECT N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	complaint := awaited(func() string {
		text, err := os.ReadFile(filepath.Join(ts.Getenv("IPC"), ".ipcfs", "waiters"))
		if err != nil {
			return err.Error()
		}
		if n := strings.Count("\n"+string(text), "\n"+args[0]+" "); n != want {
			return fmt.Sprintf("%d requests are blocked on %s, want %d; waiters: %q", n, args[0], want, text)
		}
		return ""
	})
	if complaint != "" {
		ts.Fatalf("%s", complaint)
	}
}
