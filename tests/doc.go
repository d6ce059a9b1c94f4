// Package tests checks the contract of ipcfs from the outside: each test mounts the real filesystem and uses it with
// clients in processes of their own.
//
// The rules of the house:
//
//   - The daemon is the ipcfs command, built once by TestMain, with the race detector when the tests have it. It must
//     exit with status 0 and without a race or a panic in its log, or the test that started it fails.
//   - Whatever may block runs in a child process, never in the test process. Children are killed by process id.
//   - Nothing sleeps in order to synchronise. That a client is blocked is read from the object's waiters file, that
//     something has happened from its stat file; eventually re-reads them until they say so, up to a deadline.
//   - Run by root, as they must be to change users, the tests have a mount namespace of their own: nothing stays mounted,
//     and /dev/fuse is open to everyone there.
//   - A machine without /dev/fuse, a C compiler or Python fails the tests; nothing is skipped,
//     but the lint of the manual pages where there is neither mandoc nor man, and the look at the page that
//     simulate --html writes where there is no Chromium.
//
// The clients are cat, dd, bash and the like, Python, Go (the test binary itself, see goclient_test.go) and C, in
// testdata/clients: ipccli does one system call for each of its arguments and prints what it returned, readiness
// plays ping-pong over poll, select and epoll, storm sends and receives until it is killed, segment and buffer.py share
// memory, and tmpfs.py does to a directory what must look the same in a tmpfs.
//
// What a person types at a shell stands in testdata/*.txtar.
package tests
