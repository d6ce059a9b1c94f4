/*
 * increments uses semaphores as the lectures do.
 *
 *   increments count HOLD FILE LOG GOAL      increments the number in FILE under HOLD until it is GOAL; each number it
 *                                            has written also goes to LOG
 *   increments dine SEATS FORKS TABLE N ME MEALS
 *                                            is philosopher ME of N: sits down, takes the forks FORKS/ME and
 *                                            FORKS/ME+1, eats alone with them, and gives everything back
 *
 * It prints "ok" at the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags, 0600);
	if (fd < 0)
		fail(path);
	return fd;
}

static void count(char **arg)
{
	int file = opened(arg[1], O_RDWR), log = opened(arg[2], O_WRONLY | O_APPEND);
	long n = 0, goal = atol(arg[3]);
	while (n < goal) {
		int hold = opened(arg[0], O_RDONLY);
		char b[32] = "";
		if (pread(file, b, sizeof b - 1, 0) < 0)
			fail("read");
		n = atol(b);
		if (n < goal) {
			sched_yield();
			int len = snprintf(b, sizeof b, "%ld\n", ++n);
			if (pwrite(file, b, len, 0) != len || write(log, b, len) != len)
				fail("write");
		}
		close(hold);
	}
}

/* move reads or writes a semaphore: P or V. */
static void move(int fd, int p)
{
	char b[32];
	if ((p ? read(fd, b, sizeof b) : write(fd, "\n", 1)) <= 0)
		fail(p ? "P" : "V");
}

static void dine(char **arg)
{
	int n = atoi(arg[3]), me = atoi(arg[4]), meals = atoi(arg[5]);
	char left[4096], right[4096];
	snprintf(left, sizeof left, "%s%d", arg[1], me);
	snprintf(right, sizeof right, "%s%d", arg[1], (me + 1) % n);
	int seats = opened(arg[0], O_RDWR), l = opened(left, O_RDWR), r = opened(right, O_RDWR);
	int table = opened(arg[2], O_RDWR);
	while (meals--) {
		move(seats, 1), move(l, 1), move(r, 1);
		char others[64];
		if (pwrite(table, "X", 1, me) != 1 || pread(table, others, n, 0) != n)
			fail("table");
		sched_yield();
		if (others[(me + 1) % n] == 'X' || others[(me + n - 1) % n] == 'X') {
			printf("%d eats beside a neighbour: %.*s\n", me, n, others);
			exit(1);
		}
		if (pwrite(table, ".", 1, me) != 1)
			fail("table");
		move(r, 0), move(l, 0), move(seats, 0);
	}
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "count"))
		count(argv + 2);
	else if (argc == 8 && !strcmp(argv[1], "dine"))
		dine(argv + 2);
	else
		return 2;
	puts("ok");
	return 0;
}
