/*
 * segment uses shared memory as unmodified programs do.
 *
 *   segment posix NAME                shm_open(3) and sem_open(3) between two processes
 *   segment creates N                 N exclusive creates by shm_open(3), the number of them in a second, and their end
 *   segment sems N                    likewise of sem_open(3)
 *   segment futex PATH N              N rounds of ping-pong over a futex(2) between two processes that map PATH
 *   segment buffer PATH SLOTS N ROLE  one side of the bounded buffer: produce or consume the numbers 1 to N
 *           [EMPTY FULL]              by the semaphores that are these files, or by POSIX ones within the segment
 *   segment init PATH SLOTS           makes the POSIX semaphores of a bounded buffer
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "segment: %s: %s\n", what, strerrorname_np(errno));
		exit(1);
	}
}

static void *map(const char *path, size_t size)
{
	int fd = open(path, O_RDWR);
	check(fd >= 0, path);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED, "mmap");
	close(fd);
	return p;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int succeeded(pid_t pid)
{
	int status;
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static void posix(const char *name)
{
	char memory[64], ready[64];
	snprintf(memory, sizeof memory, "/%s", name);
	snprintf(ready, sizeof ready, "/%s-ready", name);
	int fd = shm_open(memory, O_RDWR | O_CREAT | O_EXCL, 0600);
	check(fd >= 0, "shm_open");
	check(shm_open(memory, O_RDWR | O_CREAT | O_EXCL, 0600) < 0 && errno == EEXIST, "shm_open again");
	check(ftruncate(fd, 4096) == 0, "ftruncate");
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED, "mmap");
	close(fd);
	sem_t *sem = sem_open(ready, O_CREAT | O_EXCL, 0600, 0);
	check(sem != SEM_FAILED, "sem_open");
	check(sem_open(ready, O_CREAT | O_EXCL, 0600, 0) == SEM_FAILED && errno == EEXIST, "sem_open again");
	pid_t pid = fork();
	if (pid == 0) {
		int g = shm_open(memory, O_RDWR, 0);
		check(g >= 0, "shm_open in the child");
		char *q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, g, 0);
		sem_t *s = sem_open(ready, 0);
		check(s != SEM_FAILED && q != MAP_FAILED, "sem_open in the child");
		strcpy(q, "hello from the child");
		check(sem_post(s) == 0, "sem_post");
		_exit(0);
	}
	check(sem_wait(sem) == 0, "sem_wait");
	puts(p);
	check(succeeded(pid), "child");
	check(sem_unlink(ready) == 0 && shm_unlink(memory) == 0, "unlink");
	check(sem_post(sem) == 0 && sem_trywait(sem) == 0, "semaphore without a name");
	check(sem_unlink(ready) < 0 && errno == ENOENT, "unlink again");
}

static void creates(long n, int sems)
{
	char name[64];
	double begin = now();
	for (long i = 0; i < n; i++) {
		snprintf(name, sizeof name, "/many-%d-%ld", getpid(), i);
		if (sems) {
			sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
			check(s != SEM_FAILED, "sem_open");
			sem_close(s);
		} else {
			int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
			check(fd >= 0, "shm_open");
			close(fd);
		}
	}
	printf("%.0f\n", n / (now() - begin));
	for (long i = 0; i < n; i++) {
		snprintf(name, sizeof name, "/many-%d-%ld", getpid(), i);
		check((sems ? sem_unlink(name) : shm_unlink(name)) == 0, "unlink");
	}
}

static void wait_for(_Atomic uint32_t *word, uint32_t want)
{
	uint32_t have;
	while ((have = atomic_load(word)) != want)
		syscall(SYS_futex, word, FUTEX_WAIT, have, NULL, NULL, 0);
}

static void hand(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store(word, value);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex(const char *path, uint32_t rounds)
{
	pid_t pid = fork();
	_Atomic uint32_t *word = map(path, 4096);
	for (uint32_t i = 0; i < rounds; i++) {
		if (pid == 0) {
			wait_for(word, 2 * i + 1);
			hand(word, 2 * i + 2);
		} else {
			hand(word, 2 * i + 1);
			wait_for(word, 2 * i + 2);
		}
	}
	if (pid == 0)
		_exit(0);
	check(succeeded(pid), "child");
	printf("%u\n", atomic_load(word));
}

struct buffer {
	_Alignas(64) sem_t empty;
	_Alignas(64) sem_t full;
	_Alignas(64) uint64_t slot[];
};

static struct buffer *buffer;
static int files[2]; /* of the semaphores empty and full; 0: those of the buffer */

static void down(int which)
{
	char left[32];
	if (!files[which])
		check(sem_wait(which ? &buffer->full : &buffer->empty) == 0, "sem_wait");
	else
		check(read(files[which], left, sizeof left) > 0, "wait");
}

static void up(int which)
{
	if (!files[which])
		check(sem_post(which ? &buffer->full : &buffer->empty) == 0, "sem_post");
	else
		check(write(files[which], "\n", 1) == 1, "post");
}

static size_t size_of(long slots) { return sizeof *buffer + slots * sizeof buffer->slot[0]; }

static void run_buffer(int argc, char **argv)
{
	long slots = atol(argv[3]), n = atol(argv[4]);
	buffer = map(argv[2], size_of(slots));
	for (int i = 0; i < 2 && argc > 6; i++) {
		files[i] = open(argv[6 + i], O_RDWR);
		check(files[i] > 0, argv[6 + i]);
	}
	int producer = !strcmp(argv[5], "produce");
	for (long i = 1; i <= n; i++) {
		down(producer ? 0 : 1);
		if (producer) {
			buffer->slot[i % slots] = i;
		} else if (buffer->slot[i % slots] != (uint64_t)i) {
			printf("got %ld, want %ld\n", (long)buffer->slot[i % slots], i);
			exit(1);
		}
		up(producer ? 1 : 0);
	}
	printf("%ld\n", n);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "posix")) {
		posix(argv[2]);
	} else if (argc == 3 && !strcmp(argv[1], "creates")) {
		creates(atol(argv[2]), 0);
	} else if (argc == 3 && !strcmp(argv[1], "sems")) {
		creates(atol(argv[2]), 1);
	} else if (argc == 4 && !strcmp(argv[1], "futex")) {
		futex(argv[2], atol(argv[3]));
	} else if (argc == 4 && !strcmp(argv[1], "init")) {
		long slots = atol(argv[3]);
		check(truncate(argv[2], size_of(slots)) == 0, argv[2]);
		buffer = map(argv[2], size_of(slots));
		check(sem_init(&buffer->empty, 1, slots) == 0 && sem_init(&buffer->full, 1, 0) == 0, "sem_init");
	} else if ((argc == 6 || argc == 8) && !strcmp(argv[1], "buffer")) {
		run_buffer(argc, argv);
	} else {
		fprintf(stderr, "segment: bad arguments\n");
		return 2;
	}
	return 0;
}
