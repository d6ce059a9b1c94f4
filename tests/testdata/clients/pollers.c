// pollers N COUNT PATH: N threads wait in poll(2), each with an open file of its own, and
// take a message each time they are told of one, until COUNT messages have come. It prints
// "ready" when all of them are about to wait, and at the end how many messages have come and
// how often somebody was woken.
//
// pollers N COUNT PATH deaf: every third thread that is woken closes its file or goes to
// sleep instead of reading.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int waiting, received, woken;
static int wanted, deaf;
static const char *path;

static void *wait_and_read(void *arg)
{
	(void)arg;
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	struct pollfd p = {.fd = fd, .events = POLLIN};
	atomic_fetch_add(&waiting, 1);
	while (atomic_load(&received) < wanted) {
		if (poll(&p, 1, -1) < 0) {
			perror("poll");
			exit(1);
		}
		int n = atomic_fetch_add(&woken, 1);
		if (deaf && n % 3 == 0) {
			if (n % 2)
				close(fd);
			return NULL;
		}
		char buf[100];
		ssize_t got = read(fd, buf, sizeof buf);
		if (got > 0)
			atomic_fetch_add(&received, 1);
		else if (got < 0 && errno != EAGAIN) {
			perror("read");
			exit(1);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int n = atoi(argv[1]);
	wanted = atoi(argv[2]);
	path = argv[3];
	deaf = argc > 4;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < n; i++) {
		pthread_t t;
		if (pthread_create(&t, &attr, wait_and_read, NULL) != 0) {
			perror("thread");
			return 1;
		}
	}
	while (atomic_load(&waiting) < n)
		usleep(1000);
	puts("ready");
	fflush(stdout);
	while (atomic_load(&received) < wanted)
		usleep(1000);
	printf("%d received, %d woken\n", atomic_load(&received), atomic_load(&woken));
	return 0;
}
