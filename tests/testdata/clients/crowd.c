// crowd FLAGS THREADS FILE...: as many threads as THREADS open the files in turn, all
// at once. FLAGS are letters: "r", "w" or "rw", then "c", "t" and "a" for O_CREAT, O_TRUNC
// and O_APPEND, "s" to send a byte when the file is open, "i" to be interrupted by a signal
// every millisecond. Prints how many failed, and to standard error why.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

static pthread_barrier_t start;
static int flags, sends, failed, failures[200];

static void *enter(void *path)
{
	pthread_barrier_wait(&start);
	int fd = open(path, flags, 0600);
	if (fd < 0 || (sends && write(fd, "x", 1) != 1)) {
		__sync_fetch_and_add(failures + errno, 1);
		__sync_fetch_and_add(&failed, 1);
	}
	return NULL;
}

static void ignore(int signal) {}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	flags = !strncmp(argv[1], "rw", 2) ? O_RDWR : *argv[1] == 'w' ? O_WRONLY : O_RDONLY;
	for (char *f = argv[1]; *f; f++) {
		flags |= *f == 'c' ? O_CREAT : *f == 't' ? O_TRUNC : *f == 'a' ? O_APPEND : 0;
		sends |= *f == 's';
		if (*f == 'i') {
			struct sigaction a = {.sa_handler = ignore};
			struct itimerval ms = {{0, 1000}, {0, 1000}};
			sigaction(SIGALRM, &a, NULL);
			setitimer(ITIMER_REAL, &ms, NULL);
		}
	}
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	int n = atoi(argv[2]);
	pthread_t *threads = calloc(n, sizeof *threads);
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	pthread_barrier_init(&start, NULL, n);
	for (int i = 0; i < n; i++)
		if ((errno = pthread_create(threads + i, &small, enter, argv[3 + i % (argc - 3)]))) {
			perror("pthread_create");
			return 1;
		}
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (int e = 0; e < 200; e++)
		if (failures[e])
			fprintf(stderr, "%d times %s\n", failures[e], strerror(e));
	printf("%d failed\n", failed);
	return failed != 0;
}
