/*
 * segment JOB FILE is one client process of the benchmark of shared memory. FILE is mapped MiB times SIZE long, or made
 * so; see client.c for what the client prints.
 *
 *   copy    copies SIZE bytes into the mapping and out again
 *   touch   maps the file, stores to each page and unmaps it
 *   futex   hands a word to another process and waits for the answer, by futex(2)
 *   pread   reads SIZE bytes
 *   pwrite  writes SIZE bytes
 *   create  makes FILE-new with O_EXCL and closes it; it is removed off the clock
 *
 * segment send FILE QUEUE BYTES renames FILE, which it makes BYTES long and full, into the messages/ of a mailbox and back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define SIZE (1 << 20)
#define PAGE 4096

static const char *name, *queue;
static char fresh[4096];
static char *mapped, *buf;
static int fd;
static _Atomic uint32_t *word;
static uint32_t turn;

static void die(const char *what)
{
	fprintf(stderr, "segment: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static char *map(void)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void wait_for(uint32_t want)
{
	uint32_t have;
	while ((have = atomic_load(word)) != want)
		syscall(SYS_futex, word, FUTEX_WAIT, have, NULL, NULL, 0);
}

static void hand(uint32_t value)
{
	atomic_store(word, value);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void do_copy(void)
{
	memcpy(mapped, buf, SIZE);
	memcpy(buf, mapped, SIZE);
}

static void do_touch(void)
{
	char *p = map();
	for (int i = 0; i < SIZE; i += PAGE)
		p[i]++;
	munmap(p, SIZE);
}

static void do_futex(void)
{
	hand(++turn);
	wait_for(++turn);
}

static void do_pread(void)
{
	if (pread(fd, buf, SIZE, 0) != SIZE)
		die("pread");
}

static void do_pwrite(void)
{
	if (pwrite(fd, buf, SIZE, 0) != SIZE)
		die("pwrite");
}

static void do_create(void)
{
	int f = open(fresh, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (f < 0 || close(f))
		die("create");
}

static void removal(void)
{
	if (unlink(fresh))
		die("unlink");
}

static void do_send(void)
{
	static unsigned long sent;
	char message[4096 + 32];
	snprintf(message, sizeof message, "%s/x", queue);
	if (rename(name, message))
		die("send");
	snprintf(message, sizeof message, "%s/%lu", queue, ++sent);
	if (rename(message, name))
		die("receive");
}

static void nothing(void)
{
}

static void answer(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	word = (void *)map();
	for (;;) {
		wait_for(++turn);
		hand(++turn);
	}
}

static const struct {
	const char *name;
	void (*run)(void), (*after)(void);
} jobs[] = {{"copy", do_copy, nothing},   {"touch", do_touch, nothing},   {"futex", do_futex, nothing},
	    {"pread", do_pread, nothing}, {"pwrite", do_pwrite, nothing}, {"create", do_create, removal}};

/* fill makes the file bytes long, every page of it in use. */
static void fill(long bytes)
{
	fd = open(name, O_RDWR | O_CREAT, 0600);
	buf = calloc(1, SIZE);
	for (long at = 0; at < bytes; at += SIZE)
		if (pwrite(fd, buf, SIZE, at) != SIZE)
			die("pwrite");
	if (fd < 0 || close(fd))
		die("open");
}

static void serve(void (*run)(void), void (*after)(void))
{
	char line[32];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		int n = atoi(line);
		uint32_t *took = malloc(n * sizeof *took);
		for (int i = 0; i < n; i++) {
			struct timespec a, b;
			clock_gettime(CLOCK_MONOTONIC, &a);
			run();
			clock_gettime(CLOCK_MONOTONIC, &b);
			took[i] = (b.tv_sec - a.tv_sec) * 1000000000L + (b.tv_nsec - a.tv_nsec);
			after();
		}
		fwrite(took, sizeof *took, n, stdout);
		fflush(stdout);
		free(took);
	}
}

int main(int argc, char **argv)
{
	size_t job = 0, all = sizeof jobs / sizeof jobs[0];

	if (argc == 5 && !strcmp(argv[1], "send")) {
		name = argv[2], queue = argv[3];
		fill(atol(argv[4]));
		serve(do_send, nothing);
		return 0;
	}
	while (argc == 3 && job < all && strcmp(argv[1], jobs[job].name))
		job++;
	if (argc != 3 || job == all) {
		fprintf(stderr, "segment: bad arguments\n");
		return 2;
	}
	name = argv[2];
	snprintf(fresh, sizeof fresh, "%s-new", name);
	fd = open(name, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, SIZE))
		die("open");
	buf = aligned_alloc(PAGE, SIZE);
	memset(buf, 'x', SIZE);
	do_pwrite();
	mapped = map();
	word = (void *)mapped;
	*word = 0;
	if (jobs[job].run == do_futex && fork() == 0)
		answer();
	serve(jobs[job].run, jobs[job].after);
	return 0;
}
