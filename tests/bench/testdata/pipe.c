/*
 * pipe WRITE READ SIZE is a writer and, unless READ is -, a reader in a process of its own. The writer opens WRITE, the
 * reader READ, and both move SIZE bytes at a time. See client.c for what the program prints, except that one job is
 * part of a stream: each of the n numbers is the time from the first write to the end of the last read, divided by n.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* A transfer is limited in size only by the pages it lies in: it begins with one, and there is one more at most. */
#define ALIGNMENT 4096

static const char *name;
static char *buf;
static size_t size;
static int fd, orders[2], answers[2]; /* to the reader: how many jobs; from it: one byte when they are done */

static void die(const char *what)
{
	fprintf(stderr, "pipe: %s %s: %s\n", what, name, errno ? strerror(errno) : "end of file");
	exit(1);
}

static void open_end(const char *path, int flags)
{
	name = path;
	fd = open(path, flags);
	if (fd < 0)
		die("open");
	buf = aligned_alloc(ALIGNMENT, size);
	if (!buf)
		die("allocate for");
	memset(buf, 'x', size);
}

static void read_all(void)
{
	int n;

	while (read(orders[0], &n, sizeof n) == sizeof n) {
		for (size_t left = n * size; left > 0;) {
			ssize_t got = read(fd, buf, left < size ? left : size);
			if (got <= 0)
				die("read");
			left -= got;
		}
		if (write(answers[1], "", 1) != 1)
			die("answer the writer of");
	}
}

static void write_all(int n)
{
	for (size_t left = n * size; left > 0;) {
		ssize_t put = write(fd, buf, left < size ? left : size);
		if (put <= 0)
			die("write");
		left -= put;
	}
}

int main(int argc, char **argv)
{
	char line[32];
	int reader;

	if (argc != 4 || (size = strtoul(argv[3], NULL, 10)) == 0) {
		fprintf(stderr, "pipe: bad arguments\n");
		return 2;
	}
	reader = strcmp(argv[2], "-");
	if (pipe(orders) || pipe(answers))
		die("pipes beside");
	if (reader && fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(orders[1]);
		open_end(argv[2], O_RDONLY);
		read_all();
		return 0;
	}
	close(orders[0]);
	close(answers[1]);
	open_end(argv[1], O_WRONLY);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		struct timespec a, b;
		char byte;
		int n = atoi(line);
		uint32_t *took = malloc(n * sizeof *took);

		if (!took)
			die("allocate for");
		clock_gettime(CLOCK_MONOTONIC, &a);
		if (reader && write(orders[1], &n, sizeof n) != sizeof n)
			die("order the reader of");
		write_all(n);
		errno = 0;
		if (reader && read(answers[0], &byte, 1) != 1)
			die("wait for the reader of");
		clock_gettime(CLOCK_MONOTONIC, &b);
		for (int i = 0; i < n; i++)
			took[i] = ((b.tv_sec - a.tv_sec) * 1000000000L + (b.tv_nsec - a.tv_nsec)) / n;
		fwrite(took, sizeof *took, n, stdout);
		fflush(stdout);
		free(took);
	}
	return 0;
}
