package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ipcfs/fs"
	"ipcfs/fs/fusedev"
)

// shutdownTime bounds the wait for clients that keep files of a detached mount
// open. The end of the process closes /dev/fuse, which ends them all.
const shutdownTime = 3 * time.Second

// A server is one mount and the process that serves it.
type server struct {
	dir     string // as fusedev.Resolve has it
	options fusedev.Options
	log     *log.Logger
	aside   *os.File     // where log writes to, nil for standard error
	ready   func() error // called once, when the mount serves; an error ends it
	daemon  bool         // no terminal whose end would be the mount's

	collector *collector // set by serve
}

// serve mounts and returns when the mount is gone or a signal has ended it:
// nil if nothing went wrong. The second signal ends the process at once.
func serve(s server) error {
	debug.SetTraceback("all")
	s.collector = adjustCollections()
	if s.aside != nil {
		if err := debug.SetCrashOutput(s.aside, debug.CrashOptions{}); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	raiseFileLimit(s.log)
	// A log or standard error that nobody reads any more must not kill the mount.
	signal.Ignore(unix.SIGPIPE)
	signals := make(chan os.Signal, 2)
	if s.daemon {
		signal.Ignore(unix.SIGHUP)
	} else if !signal.Ignored(unix.SIGHUP) { // nohup(1)
		signal.Notify(signals, unix.SIGHUP)
	}
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)

	err := s.mountAndServe(signals)
	if err != nil && s.aside != nil { // main says it on standard error
		s.log.Print(err)
	}
	return err
}

func (s server) mountAndServe(signals <-chan os.Signal) error {
	recovered, err := fusedev.Recover(s.dir)
	if err != nil {
		return err
	}
	if recovered {
		s.log.Print("recovered a dead mount")
	}
	fd, err := fusedev.Mount(s.dir, s.options)
	if err != nil {
		return err
	}
	mounted, found, err := fusedev.Find(s.dir)
	if err != nil || !found {
		unix.Close(fd)
		return errors.Join(errors.New("unmounted before it served"), err)
	}
	f := fs.New(fs.Config{
		Log:     s.log,
		Version: shortVersion(),
		Uid:     uint32(os.Geteuid()),
		Gid:     uint32(os.Getegid()),

		NoPassthrough: s.options.NoPassthrough,

		Limited: s.collector.limit,
		Freed:   s.collector.freed,
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(fd) }()

	select {
	case <-f.Ready():
		s.log.Printf("serving %s", s.dir)
		if err := s.ready(); err != nil {
			return errors.Join(err, s.shutdown(f, mounted, signals, ended))
		}
	case sig := <-signals:
		s.log.Printf("%v before the mount served", sig)
		return errors.Join(fmt.Errorf("ended by a signal: %v", sig), s.shutdown(f, mounted, signals, ended))
	case err := <-ended:
		return errors.Join(errors.New("ended before it served"), err, s.detach(mounted))
	}

	select {
	case sig := <-signals:
		s.log.Printf("%v: shutting down", sig)
		return s.shutdown(f, mounted, signals, ended)
	case err := <-ended:
		if err != nil {
			return errors.Join(fmt.Errorf("serve: %w", err), s.detach(mounted))
		}
		s.log.Print("unmounted")
		// A clean end leaves nothing behind, an aborted connection may.
		return s.detach(mounted)
	}
}

// shutdown fails what is parked, detaches the mount and waits, for a while, for
// the kernel to let go of it.
func (s server) shutdown(f *fs.FS, mounted fusedev.MountPoint, signals <-chan os.Signal, ended <-chan error) error {
	go func() {
		if sig, ok := (<-signals).(unix.Signal); ok {
			s.log.Printf("%v again: ending at once", sig)
			os.Exit(128 + int(sig)) // as sh(1) reports it
		}
	}()
	f.Shutdown()
	if err := s.detach(mounted); err != nil {
		return err
	}
	patience := time.NewTimer(shutdownTime)
	defer patience.Stop()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		s.log.Print("unmounted")
	case <-patience.C:
		s.log.Print("files are still open: ending all the same")
	}
	return nil
}

// detach takes mounted off the directory, unless somebody has, and has perhaps
// mounted another there.
func (s server) detach(mounted fusedev.MountPoint) error {
	now, found, err := fusedev.Find(s.dir)
	if err == nil && found && now.Same(mounted) {
		err = fusedev.Unmount(s.dir, true)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, fusedev.ErrNotMounted) {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// mostFiles is how many descriptors a daemon asks for where it may have any number: as
// many as there may be objects by default.
const mostFiles = 1 << 20

// raiseFileLimit lifts RLIMIT_NOFILE as far as it may: descriptors are segments and
// clients watched through pidfds. Beyond the hard limit that takes CAP_SYS_RESOURCE.
func raiseFileLimit(l *log.Logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	if limit.Max < mostFiles {
		most := min(mostFiles, filesAllowed())
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}) == nil {
			return
		}
	}
	want := min(limit.Max, max(limit.Cur, mostFiles))
	if want <= limit.Cur {
		return
	}
	limit.Cur = want
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		l.Printf("raise the limit of open files: %v", err)
	}
}

// filesAllowed is the most that RLIMIT_NOFILE can be: proc_sys_fs(5), nr_open.
func filesAllowed() uint64 {
	text, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return mostFiles
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return mostFiles
	}
	return n
}
