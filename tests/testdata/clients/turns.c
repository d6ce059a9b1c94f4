// turns flood DIR N SIZE: N processes send messages of that size into mailboxes of their own
// in DIR and receive them, until they are killed. It prints "ready" when all of them do.
//
// turns signals FILE N SIZE: sends N messages of that size into the mailbox FILE and receives
// them without waiting, while a handler with SA_RESTART is called every millisecond. It prints
// how many times something failed that had no need to wait.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
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
		snprintf(path, sizeof path, "%s/flood-%d-%d", argv[2], getuid(), i);
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

static void handler(int signal)
{
	(void)signal;
}

static int signals(char **argv)
{
	long size = atol(argv[4]), failed = 0;
	int fd = open(argv[2], O_RDWR | O_CREAT | O_NONBLOCK, 0600);
	char *buf = calloc(1, size);
	if (fd < 0 || !buf)
		die(argv[2]);
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 1000}, {0, 1000}};
	if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &often, NULL) < 0)
		die("timer");
	for (long n = atol(argv[3]); n > 0; n--) {
		struct pollfd ready = {fd, POLLIN, 0};
		failed += write(fd, buf, size) != size;
		failed += poll(&ready, 1, 0) >= 0 && ready.revents != POLLIN;
		failed += read(fd, buf, size) != size;
	}
	printf("%ld failed\n", failed);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	return strcmp(argv[1], "signals") == 0 ? signals(argv) : flood(argv);
}
