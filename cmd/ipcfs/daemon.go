package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ipcfs/fs/fusedev"
)

// A daemon is this program started anew in a session of its own, its log as
// standard output and error. It finds in the environment the number of the
// descriptor by which it tells its parent, in one report, that it serves or why
// not.
const (
	reportVariable = "IPCFS_REPORT_FD"
	reportFD       = 3 // the first of exec.Cmd.ExtraFiles
	reportReady    = "ready"
)

// A report is the daemon's end of the pipe to its parent; nil once used.
type report struct{ pipe *os.File }

// daemonReport is the report this process owes if it is a daemon.
func daemonReport() (r *report, daemon bool) {
	if os.Getenv(reportVariable) != fmt.Sprint(reportFD) {
		return nil, false
	}
	// Not for the programs the daemon runs.
	os.Unsetenv(reportVariable)
	unix.CloseOnExec(reportFD)
	return &report{os.NewFile(reportFD, "report")}, true
}

// ready tells the parent that the mount serves. An error means that the parent
// is gone, interrupted: then nobody wants the mount.
func (r *report) ready() error {
	_, err := io.WriteString(r.pipe, reportReady)
	r.pipe.Close()
	r.pipe = nil
	if err != nil {
		return errors.New("interrupted before it served")
	}
	return nil
}

// failed tells the parent why it does not serve, unless it has said ready.
func (r *report) failed(err error) {
	if r.pipe == nil || err == nil {
		return
	}
	// To a parent that is gone there is nothing to say.
	_, _ = io.WriteString(r.pipe, err.Error())
	r.pipe.Close()
	r.pipe = nil
}

func serveAsDaemon(dir string, o fusedev.Options, r *report) error {
	return serve(server{
		dir:     dir,
		options: o,
		log:     newLog(os.Stderr, dir),
		ready:   r.ready,
		daemon:  true,
	})
}

// startDaemon starts a daemon for dir and returns when it serves, or its error.
func startDaemon(dir string, options []string, logFile string) error {
	logged, err := openDaemonLog(dir, logFile)
	if err != nil {
		return err
	}
	defer logged.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start as daemon: %w", err)
	}
	answer, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answer.Close()

	args := []string{"mount"}
	if len(options) > 0 {
		args = append(args, "-o", strings.Join(options, ","))
	}
	cmd := exec.Command(self, append(args, "--log", logged.Name(), "--", dir)...)
	cmd.Args[0] = "ipcfs"
	cmd.Dir = "/" // so that it keeps no filesystem busy
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", reportVariable, reportFD))
	cmd.Stdout, cmd.Stderr = logged, logged
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// What this process inherited, a lock of the calling script say, is not the daemon's to keep.
	_ = unix.CloseRange(reportFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // ENOSYS before Linux 5.11
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	text, err := io.ReadAll(answer)
	switch {
	case err != nil:
		return fmt.Errorf("read the daemon's report: %w", err)
	case string(text) == reportReady:
		return cmd.Process.Release()
	case len(text) > 0:
		_ = cmd.Wait()
		return errors.New(string(text))
	}
	return fmt.Errorf("the daemon ended before it served (%v): see %s", describeExit(cmd.Wait()), logged.Name())
}

func openDaemonLog(dir, logFile string) (*os.File, error) {
	if logFile == "" {
		return openDefaultLog(dir)
	}
	return openLog(logFile)
}

func describeExit(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
