/*
 * pins has the kernel hold memory of a segment, unmaps and closes the segment, and changes it all the same.
 *
 *   pins uring PATH           by a buffer that is registered with an io_uring(7)
 *   pins read PATH MAILBOX    by a read(2) into it that waits for a message, as one of AIO would
 *   pins vmsplice PATH        by pages in a pipe, which can only be read; it changes nothing
 *   pins hold PATH            by a mapping, which it keeps, and says at which address
 *   pins poke PID ADDRESS     changes the memory of another process, by process_vm_writev(2) and by ptrace(2)
 *
 * It says "pinned", or "refused" and why; with a line of input it changes the first bytes to "EVIL!" and says "changed";
 * with another it ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
static const char evil[] = "EVIL!";

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "pins: %s: %s\n", what, strerrorname_np(errno));
		exit(1);
	}
}

static void say(const char *text)
{
	puts(text);
	fflush(stdout);
}

static void refused(const char *what)
{
	printf("refused %s %s\n", what, strerrorname_np(errno));
	exit(0);
}

static void hear(void)
{
	char line[16];
	check(fgets(line, sizeof line, stdin) != NULL, "input");
}

static int segment;

static char *map(const char *path)
{
	segment = open(path, O_RDWR);
	check(segment >= 0, path);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, segment, 0);
	check(p != MAP_FAILED, "mmap");
	p[PAGE - 1]++; /* it has the page */
	return p;
}

static void leave(char *p)
{
	check(munmap(p, PAGE) == 0 && close(segment) == 0, "munmap and close");
}

static int ring;
static struct io_uring_params params;

static void uring_register(char *p)
{
	ring = syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0)
		refused("io_uring_setup");
	struct iovec v = {p, PAGE};
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &v, 1) < 0)
		refused("io_uring_register");
}

static void uring_change(char *p)
{
	int source = memfd_create("source", 0);
	check(write(source, evil, 5) == 5, "source");
	uint8_t *sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	struct io_uring_sqe *e = mmap(NULL, params.sq_entries * sizeof *e, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	uint8_t *cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			   IORING_OFF_CQ_RING);
	check(sq != MAP_FAILED && (void *)e != MAP_FAILED && cq != MAP_FAILED, "mmap of the ring");
	*e = (struct io_uring_sqe){.opcode = IORING_OP_READ_FIXED, .fd = source, .addr = (uintptr_t)p, .len = 5};
	*(uint32_t *)(sq + params.sq_off.array) = 0;
	__atomic_store_n((uint32_t *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
	check(((struct io_uring_cqe *)(cq + params.cq_off.cqes))->res == 5, "read of 5 bytes");
}

static int mailbox;

static void *reads(void *p)
{
	check(read(mailbox, p, PAGE) == 5, "read of 5 bytes");
	return NULL;
}

static void read_by(char *p, const char *path)
{
	char file[4096];
	pthread_t thread;
	snprintf(file, sizeof file, "%s/receive", path);
	mailbox = open(file, O_RDONLY);
	check(mailbox >= 0, file);
	check(pthread_create(&thread, NULL, reads, p) == 0, "thread");
	snprintf(file, sizeof file, "%s/waiters", path);
	for (ssize_t n = 0; n == 0;) { /* until it waits there */
		char b[100];
		int fd = open(file, O_RDONLY);
		check(fd >= 0 && (n = read(fd, b, sizeof b)) >= 0 && close(fd) == 0, file);
	}
	leave(p);
	say("pinned");
	hear();
	snprintf(file, sizeof file, "%s/send", path);
	int to = open(file, O_WRONLY);
	check(to >= 0 && write(to, evil, 5) == 5, file);
	check(pthread_join(thread, NULL) == 0, "join");
}

static void poke(pid_t pid, char *at)
{
	struct iovec from = {(char *)evil, 5}, to = {at, 5};
	printf("process_vm_writev %s\n", process_vm_writev(pid, &from, 1, &to, 1, 0) == 5 ? "ok" : strerrorname_np(errno));
	int status;
	check(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid, "attach");
	printf("ptrace %s\n", ptrace(PTRACE_POKEDATA, pid, at, *(long *)"EVIL!!!") == 0 ? "ok" : strerrorname_np(errno));
	check(ptrace(PTRACE_DETACH, pid, 0, 0) == 0, "detach");
}

int main(int argc, char **argv)
{
	check(argc >= 3, "arguments");
	const char *way = argv[1];
	if (!strcmp(way, "poke")) {
		poke(atoi(argv[2]), (char *)strtoul(argv[3], NULL, 0));
		return 0;
	}
	char *p = map(argv[2]);
	if (!strcmp(way, "uring")) {
		uring_register(p);
		leave(p);
		say("pinned");
		hear();
		uring_change(p);
	} else if (!strcmp(way, "read")) {
		read_by(p, argv[3]);
	} else if (!strcmp(way, "vmsplice")) {
		int ends[2];
		struct iovec v = {p, PAGE};
		check(pipe(ends) == 0, "pipe");
		if (vmsplice(ends[1], &v, 1, 0) != PAGE)
			refused("vmsplice");
		leave(p);
		say("pinned");
		hear();
	} else {
		close(segment);
		printf("pinned %p\n", (void *)p);
		fflush(stdout);
		hear();
		munmap(p, PAGE);
	}
	say("changed");
	hear();
	return 0;
}
