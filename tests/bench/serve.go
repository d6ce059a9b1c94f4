package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"ipcfs/fs/fusedev"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fusedevThreads is how many threads read requests, as in package fs.
const fusedevThreads = 2

// untilTerminated says that the mount serves and waits for SIGTERM.
func untilTerminated() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	signal.Ignore(unix.SIGINT) // a terminal sends it to the whole group: the parent cleans up
	fmt.Println("ready")
	<-signals
}

// serveFusedev serves n through package fusedev.
func serveFusedev(dir string, n *null) error {
	fd, err := fusedev.Mount(dir, fusedev.Options{})
	if err != nil {
		return err
	}
	c := fusedev.NewConn(fd, n, n, log.Default())
	ended := make(chan error, 1)
	go func() { ended <- c.Serve(fusedevThreads) }()
	select {
	case <-c.Ready():
	case err := <-ended:
		return fmt.Errorf("ended before it served: %w", err)
	}
	untilTerminated()
	// The end of the process ends the connection, whoever still holds the mount.
	return fusedev.Unmount(dir, true)
}

// serveStock serves fs through go-fuse's own server, with its defaults.
func serveStock(dir string, fs fuse.RawFileSystem) error {
	s, err := fuse.NewServer(fs, dir, &fuse.MountOptions{DirectMount: true})
	if err != nil {
		return err
	}
	go s.Serve()
	if err := s.WaitMount(); err != nil {
		return err
	}
	untilTerminated()
	ended := make(chan error, 1)
	go func() { ended <- s.Unmount() }()
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Millisecond):
			// Unmount waits for its readers, which read on if anybody still holds
			// the mount. The end of the process ends them.
			if _, found, err := fusedev.Find(dir); err == nil && !found {
				return nil
			}
		}
	}
}
