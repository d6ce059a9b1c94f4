/*
 * client JOB ARGUMENT... is one client process of the benchmark.
 *
 *   read FILE           reads SIZE bytes
 *   write FILE          writes SIZE bytes
 *   send FILE           opens FILE, writes a line and closes it, as the shell's echo does; the message is taken out
 *                       again off the clock
 *   ping SEND RECEIVE   sends a message and waits for the answer
 *   echo SEND RECEIVE   answers messages until it is killed
 *   queue FILE N        N threads, each of which opens FILE and waits in read; ready when all have it open. They open it
 *                       one after another
 *   crowd FILE N        likewise, but they open it all at once
 *   flood PATH N SIZE UID
 *                       N processes of the user UID, each of which sends SIZE bytes to itself, again and again: through a
 *                       mailbox of its own, PATH and a number, or through a file in memory if PATH is -; ready when
 *                       all of them do
 *
 * SEND and RECEIVE are paths, or mq:/NAME for a POSIX message queue. When its files are open the client prints
 * "ready". Then, for each line with a number n on standard input, it does its job n times and prints n native
 * 32-bit integers: how many nanoseconds each time took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SIZE 64
#define STACK 32768 /* of a parked thread: twice PTHREAD_STACK_MIN, limits.h */

static char buf[SIZE];

static void die(const char *what, const char *name)
{
	fprintf(stderr, "client: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

/* An endpoint sends or receives. */
struct endpoint {
	const char *name;
	int fd;
	int queue; /* a POSIX message queue */
};

static struct endpoint open_endpoint(const char *name, int flags)
{
	struct endpoint e = {name, -1, !strncmp(name, "mq:", 3)};
	if (e.queue) {
		struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = SIZE};
		e.fd = mq_open(name + 3, flags | O_CREAT, 0600, &attr);
	} else {
		e.fd = open(name, flags);
	}
	if (e.fd < 0)
		die("open", name);
	return e;
}

static void put(struct endpoint e)
{
	long n = e.queue ? mq_send(e.fd, buf, SIZE, 0) : write(e.fd, buf, SIZE);
	if (n != (e.queue ? 0 : SIZE))
		die("write", e.name);
}

static void take(struct endpoint e)
{
	long n = e.queue ? mq_receive(e.fd, buf, SIZE, NULL) : read(e.fd, buf, SIZE);
	if (n != SIZE)
		die("read", e.name);
}

static struct endpoint sender, receiver;

static void do_read(void)
{
	if (pread(sender.fd, buf, SIZE, 0) != SIZE)
		die("read", sender.name);
}

static void do_write(void)
{
	if (pwrite(sender.fd, buf, SIZE, 0) != SIZE)
		die("write", sender.name);
}

static void do_ping(void)
{
	put(sender);
	take(receiver);
}

static void do_send(void)
{
	int fd = open(sender.name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die("open", sender.name);
	if (write(fd, "hello\n", 6) != 6)
		die("write", sender.name);
	if (close(fd))
		die("close", sender.name);
}

static void drain(void)
{
	if (read(receiver.fd, buf, SIZE) != 6)
		die("read", receiver.name);
}

static void nothing(void)
{
}

static uint32_t elapsed(struct timespec a, struct timespec b)
{
	return (b.tv_sec - a.tv_sec) * 1000000000L + (b.tv_nsec - a.tv_nsec);
}

static void serve(void (*job)(void), void (*after)(void))
{
	char line[32];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		int n = atoi(line);
		uint32_t *took = malloc(n * sizeof *took);
		if (!took)
			die("malloc", line);
		for (int i = 0; i < n; i++) {
			struct timespec a, b;
			clock_gettime(CLOCK_MONOTONIC, &a);
			job();
			clock_gettime(CLOCK_MONOTONIC, &b);
			took[i] = elapsed(a, b);
			after();
		}
		fwrite(took, sizeof *took, n, stdout);
		fflush(stdout);
		free(took);
	}
}

static pthread_rwlock_t door = PTHREAD_RWLOCK_INITIALIZER;
static int crowded;
static sem_t opened;

static void *wait_in_read(void *name)
{
	char b[SIZE];
	int fd;

	if (crowded)
		pthread_rwlock_rdlock(&door);
	else
		pthread_rwlock_wrlock(&door);
	fd = open(name, O_RDONLY);
	pthread_rwlock_unlock(&door);
	if (fd < 0)
		die("open", name);
	sem_post(&opened);
	if (read(fd, b, sizeof b) < 0)
		die("read", name);
	return NULL;
}

static void park(char *name, int n)
{
	struct rlimit limit;
	char *stacks = mmap(NULL, (size_t)n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (stacks == MAP_FAILED)
		die("mmap", "stacks");
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	pthread_rwlock_wrlock(&door);
	for (int i = 0; i < n; i++) {
		pthread_attr_t attr;
		pthread_t thread;
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks + (size_t)i * STACK, STACK);
		errno = pthread_create(&thread, &attr, wait_in_read, name);
		if (errno)
			die("pthread_create", name);
		pthread_attr_destroy(&attr);
	}
	pthread_rwlock_unlock(&door);
	for (int i = 0; i < n; i++)
		while (sem_wait(&opened))
			;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static void flood(const char *path, int n, long size, uid_t uid)
{
	char name[4096], *message = calloc(1, size), c;
	int outside = !strcmp(path, "-"), started[2];

	if (!message || pipe(started) || setgid(uid) || setuid(uid))
		die("flood", path);
	for (int i = 0; i < n; i++) {
		int pid = fork();
		if (pid < 0)
			die("fork", path);
		if (pid > 0)
			continue;
		if (prctl(PR_SET_PDEATHSIG, SIGKILL))
			die("prctl", path);
		snprintf(name, sizeof name, "%s%d", path, i);
		int fd = outside ? memfd_create("flood", 0) : open(name, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
		if (fd < 0)
			die("open", name);
		while (!outside && read(fd, message, size) > 0)
			; /* what one that was killed has left */
		for (int first = 1;; first = 0) {
			if (outside ? pwrite(fd, message, size, 0) != size || pread(fd, message, size, 0) != size :
				      write(fd, message, size) != size || read(fd, message, size) != size)
				die("flood", name);
			if (first && write(started[1], "x", 1) != 1)
				die("flood", name);
		}
	}
	for (; n > 0; n--)
		if (read(started[0], &c, 1) != 1)
			die("flood", path);
	puts("ready");
	fflush(stdout);
	pause();
}

int main(int argc, char **argv)
{
	const char *job = argc > 2 ? argv[1] : "";

	if (!strcmp(job, "read") || !strcmp(job, "write")) {
		sender = open_endpoint(argv[2], O_RDWR);
		serve(*job == 'r' ? do_read : do_write, nothing);
	} else if (!strcmp(job, "send")) {
		sender.name = argv[2];
		sender.fd = open(argv[2], O_WRONLY | O_CREAT, 0644);
		if (sender.fd < 0)
			die("open", argv[2]);
		close(sender.fd);
		receiver = open_endpoint(argv[2], O_RDONLY | O_NONBLOCK);
		serve(do_send, drain);
	} else if (!strcmp(job, "ping") && argc == 4) {
		/* The two open in opposite order: opening a FIFO waits for the other end. */
		sender = open_endpoint(argv[2], O_WRONLY);
		receiver = open_endpoint(argv[3], O_RDONLY);
		serve(do_ping, nothing);
	} else if (!strcmp(job, "echo") && argc == 4) {
		receiver = open_endpoint(argv[3], O_RDONLY);
		sender = open_endpoint(argv[2], O_WRONLY);
		puts("ready");
		fflush(stdout);
		for (;;) {
			take(receiver);
			put(sender);
		}
	} else if ((!strcmp(job, "queue") || !strcmp(job, "crowd")) && argc == 4) {
		crowded = *job == 'c';
		park(argv[2], atoi(argv[3]));
	} else if (!strcmp(job, "flood") && argc == 6) {
		flood(argv[2], atoi(argv[3]), atol(argv[4]), atoi(argv[5]));
	} else {
		fprintf(stderr, "client: unknown job\n");
		return 2;
	}
	return 0;
}
