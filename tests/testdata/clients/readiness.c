/*
 * readiness holds poll, select and epoll to their word: what they report ready must not give EAGAIN, and what they
 * do not report must.
 *
 *   readiness lead   WAIT IN OUT COUNT   sends a numbered message, waits for it to come back, COUNT times
 *   readiness follow WAIT IN OUT COUNT   sends back what it receives
 *   readiness produce WAIT OUT COUNT     sends COUNT messages, waiting for room when there is none
 *   readiness consume WAIT IN COUNT      receives them and checks their order
 *
 * WAIT is poll, select, epoll (level-triggered) or edge. All descriptors are non-blocking. On success it prints "ok".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

enum { patience = 30000 }; /* ms */

static const char *way;
static int epfds[2] = {-1, -1}; /* for reading, for writing */

static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

static int edge(void) { return !strcmp(way, "edge"); }

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK);
	if (fd < 0)
		fail("open %s: %s", path, strerrorname_np(errno));
	if (strcmp(way, "epoll") && !edge())
		return fd;
	int out = (flags & O_ACCMODE) == O_WRONLY;
	struct epoll_event e = {.events = (out ? EPOLLOUT : EPOLLIN) | (edge() ? EPOLLET : 0)};
	epfds[out] = epoll_create1(0);
	if (epoll_ctl(epfds[out], EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll_ctl %s: %s", path, strerrorname_np(errno));
	return fd;
}

/* ready waits up to ms for fd and says whether it is ready. */
static int ready(int fd, int out, int ms)
{
	int n;
	if (!strcmp(way, "poll")) {
		struct pollfd p = {.fd = fd, .events = out ? POLLOUT : POLLIN};
		n = poll(&p, 1, ms);
		if (n > 0 && p.revents != p.events)
			fail("poll = %#x, want %#x", p.revents, p.events);
	} else if (!strcmp(way, "select")) {
		struct timeval tv = {ms / 1000, ms % 1000 * 1000};
		fd_set set;
		FD_ZERO(&set);
		FD_SET(fd, &set);
		n = select(fd + 1, out ? NULL : &set, out ? &set : NULL, NULL, &tv);
	} else {
		struct epoll_event e;
		n = epoll_wait(epfds[out], &e, 1, ms);
	}
	if (n < 0)
		fail("%s: %s", way, strerrorname_np(errno));
	return n;
}

static void await(int fd, int out, long i)
{
	if (!ready(fd, out, patience))
		fail("%s: not %s within %d ms, at message %ld", way, out ? "writable" : "readable", patience, i);
}

/* send_one sends message i.  */
static void send_one(int fd, long i)
{
	char b[64] = {0};
	snprintf(b, sizeof b, "%ld", i);
	/* An edge is reported once: try first, wait then. Otherwise ask first. */
	if (!edge())
		await(fd, 1, i);
	while (write(fd, b, sizeof b) != sizeof b) {
		if (errno != EAGAIN)
			fail("write of message %ld: %s", i, strerrorname_np(errno));
		if (!edge())
			fail("%s said writable, write of message %ld: EAGAIN", way, i);
		await(fd, 1, i);
	}
}

static void receive_one(int fd, long i)
{
	char b[128];
	long n;
	if (!edge())
		await(fd, 0, i);
	while ((n = read(fd, b, sizeof b)) != 64) {
		if (n >= 0)
			fail("read of message %ld = %ld bytes, want 64", i, n);
		if (errno != EAGAIN)
			fail("read of message %ld: %s", i, strerrorname_np(errno));
		if (!edge())
			fail("%s said readable, read of message %ld: EAGAIN", way, i);
		await(fd, 0, i);
	}
	if (atol(b) != i)
		fail("message %ld came, want %ld", atol(b), i);
}

/* nothing checks that there is no message and that nobody claims there is one. */
static void nothing(int fd, long i)
{
	char b[64];
	if (!edge() && ready(fd, 0, 0))
		fail("%s: readable after message %ld, with nothing to read", way, i);
	long n = read(fd, b, sizeof b);
	if (n >= 0 || errno != EAGAIN)
		fail("read of the empty mailbox after message %ld = %ld, want EAGAIN", i, n);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		fail("too few arguments");
	const char *role = argv[1];
	way = argv[2];
	long count = atol(argv[argc - 1]), i;
	if (!strcmp(role, "lead") || !strcmp(role, "follow")) {
		int in = opened(argv[3], O_RDONLY), out = opened(argv[4], O_WRONLY);
		for (i = 0; i < count; i++) {
			if (!strcmp(role, "lead")) {
				nothing(in, i);
				send_one(out, i);
				receive_one(in, i);
			} else {
				receive_one(in, i);
				send_one(out, i);
			}
		}
	} else if (!strcmp(role, "produce")) {
		int out = opened(argv[3], O_WRONLY);
		for (i = 0; i < count; i++)
			send_one(out, i);
	} else if (!strcmp(role, "consume")) {
		int in = opened(argv[3], O_RDONLY);
		for (i = 0; i < count; i++)
			receive_one(in, i);
		nothing(in, i);
	} else {
		fail("unknown role %s", role);
	}
	puts("ok");
	return 0;
}
