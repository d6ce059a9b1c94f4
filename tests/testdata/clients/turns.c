// turns ping A B MS: two processes send 64 bytes to and fro over the mailboxes A and B for
// so many milliseconds; it prints how often. It begins anew for each line of its input.
//
// turns flood DIR N SIZE: N processes send messages of that size into mailboxes of their own
// in DIR and receive them, until they are killed. It prints "ready" when all of them do.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void receive(int fd)
{
	char buf[64];
	if (read(fd, buf, sizeof buf) != sizeof buf || read(fd, buf, sizeof buf) != 0)
		die("receive");
}

static void send64(int fd)
{
	char buf[64] = {0};
	if (write(fd, buf, sizeof buf) != sizeof buf)
		die("send");
}

static int child(void)
{
	int pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static int ping(char **argv)
{
	if (child() == 0) {
		int in = open(argv[2], O_RDONLY), out = open(argv[3], O_WRONLY);
		if (in < 0 || out < 0)
			die("open");
		for (;;) {
			receive(in);
			send64(out);
		}
	}
	int out = open(argv[2], O_WRONLY), in = open(argv[3], O_RDONLY);
	if (in < 0 || out < 0)
		die("open");
	char line[16];
	while (fgets(line, sizeof line, stdin)) {
		long n = 0;
		for (long end = now_ms() + atol(argv[4]); now_ms() < end; n++) {
			send64(out);
			receive(in);
		}
		printf("%ld\n", n);
		fflush(stdout);
	}
	return 0;
}

static int flood(char **argv)
{
	long size = atol(argv[4]);
	int started[2];
	if (pipe(started) < 0)
		die("pipe");
	int n = atoi(argv[3]);
	for (int i = 0; i < n; i++) {
		if (child() != 0)
			continue;
		char path[4096];
		snprintf(path, sizeof path, "%s/flood%d", argv[2], i);
		int fd = open(path, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
		char *buf = calloc(1, size);
		if (fd < 0 || !buf)
			die(path);
		for (int first = 1;; first = 0) {
			if (write(fd, buf, size) != size || read(fd, buf, size) <= 0) // which may be what another left
				die("flood");
			if (first && write(started[1], "x", 1) != 1)
				die("started");
		}
	}
	for (char c; n > 0; n--)
		if (read(started[0], &c, 1) != 1)
			die("started");
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	return strcmp(argv[1], "ping") == 0 ? ping(argv) : flood(argv);
}
