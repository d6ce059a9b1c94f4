/*
 * storm sends or receives until it is done or killed, and keeps a log that survives SIGKILL.
 *
 *   storm send PATH LOG NAME COUNT   sends "NAME 0" … "NAME COUNT-1"; a line in LOG for each send that succeeded
 *   storm receive PATH LOG           receives for ever; each message is a line in LOG
 *
 * A line is written to LOG before the next message is touched: whoever blocks has logged all it did. Both start when
 * standard input ends, so that all can start at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	char b[4096];
	if (argc < 4)
		return 2;
	while (read(0, b, sizeof b) > 0)
		;
	int log = open(argv[3], O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (log < 0)
		fail("open of the log");
	if (!strcmp(argv[1], "send")) {
		if (argc < 6)
			return 2;
		int fd = open(argv[2], O_WRONLY);
		if (fd < 0)
			fail("open");
		for (long i = 0; i < atol(argv[5]); i++) {
			int n = snprintf(b, sizeof b, "%s %ld\n", argv[4], i);
			if (write(fd, b, n) != n)
				fail("send");
			if (write(log, b, n) != n)
				fail("log");
		}
		return 0;
	}
	int fd = open(argv[2], O_RDONLY);
	if (fd < 0)
		fail("open");
	for (;;) {
		long n = read(fd, b, sizeof b);
		if (n < 0)
			fail("receive");
		if (n > 0 && write(log, b, n) != n)
			fail("log");
	}
}
