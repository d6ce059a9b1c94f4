/*
 * streams writes and checks what goes through a pipe.
 *
 *   streams send PATH BYTES SIZE        writes BYTES of a known stream, SIZE at a time
 *   streams check PATH SIZE             reads to the end, SIZE at a time, compares, and prints how many bytes
 *   streams records PATH ID COUNT       writes COUNT records of PIPE_BUF bytes
 *   streams sort PATH WRITERS COUNT     reads whole records and checks that none is torn, lost or out of its order
 *
 * On success it ends with "ok".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
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
	int fd = open(path, flags);
	if (fd < 0)
		fail(path);
	return fd;
}

/* known fills b with the stream from its byte at: each 8 bytes depend on their position. */
static void known(unsigned char *b, long at, long n)
{
	while (n > 0) {
		uint64_t x = (uint64_t)(at / 8 + 1) * 0x9e3779b97f4a7c15u;
		x ^= x >> 29;
		long skip = at % 8, k = 8 - skip < n ? 8 - skip : n;
		memcpy(b, (char *)&x + skip, k);
		b += k, at += k, n -= k;
	}
}

static void put(int fd, const void *b, long n)
{
	while (n > 0) {
		long w = write(fd, b, n);
		if (w <= 0)
			fail("write");
		b = (const char *)b + w, n -= w;
	}
}

static void do_send(char **arg)
{
	int fd = opened(arg[0], O_WRONLY);
	long total = atol(arg[1]), size = atol(arg[2]);
	unsigned char *b = malloc(size);
	for (long at = 0; at < total; at += size) {
		long n = total - at < size ? total - at : size;
		known(b, at, n);
		put(fd, b, n);
	}
}

static void do_check(char **arg)
{
	int fd = opened(arg[0], O_RDONLY);
	long size = atol(arg[1]), at = 0, n;
	unsigned char *b = malloc(size), *want = malloc(size);
	while ((n = read(fd, b, size)) > 0) {
		known(want, at, n);
		if (memcmp(b, want, n)) {
			printf("other bytes than were sent, from %ld to %ld\n", at, at + n);
			exit(1);
		}
		at += n;
	}
	if (n < 0)
		fail("read");
	printf("%ld\n", at);
}

struct record {
	int id, seq;
	unsigned char fill[PIPE_BUF - 2 * sizeof(int)];
};

static void do_records(char **arg)
{
	int fd = opened(arg[0], O_WRONLY);
	struct record r = {.id = atoi(arg[1])};
	memset(r.fill, r.id, sizeof r.fill);
	for (; r.seq < atoi(arg[2]); r.seq++)
		if (write(fd, &r, sizeof r) != sizeof r)
			fail("write");
}

static void do_sort(char **arg)
{
	int fd = opened(arg[0], O_RDONLY), writers = atoi(arg[1]), count = atoi(arg[2]);
	int *next = calloc(writers, sizeof *next);
	for (long i = 0; i < (long)writers * count; i++) {
		struct record r;
		for (size_t got = 0; got < sizeof r;) {
			long n = read(fd, (char *)&r + got, sizeof r - got);
			if (n <= 0)
				fail("read");
			got += n;
		}
		int torn = r.id < 0 || r.id >= writers || r.seq != next[r.id]++;
		for (size_t k = 0; !torn && k < sizeof r.fill; k++)
			torn = r.fill[k] != (unsigned char)r.id;
		if (torn) {
			printf("record %ld is torn or out of order: id %d, seq %d\n", i, r.id, r.seq);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "send"))
		do_send(argv + 2);
	else if (argc == 4 && !strcmp(argv[1], "check"))
		do_check(argv + 2);
	else if (argc == 5 && !strcmp(argv[1], "records"))
		do_records(argv + 2);
	else if (argc == 5 && !strcmp(argv[1], "sort"))
		do_sort(argv + 2);
	else
		return 2;
	puts("ok");
	return 0;
}
