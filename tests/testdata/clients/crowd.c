// crowd FLAGS THREADS FILE...: as many threads as THREADS open the files in turn, all
// at once, with the flags of open(2); "r", "w" or "rw". Prints how many opens failed.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_barrier_t start;
static int flags, failed;

static void *enter(void *path)
{
	pthread_barrier_wait(&start);
	if (open(path, flags) < 0) {
		fprintf(stderr, "%s: %s\n", (char *)path, strerror(errno));
		__sync_fetch_and_add(&failed, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	flags = !strcmp(argv[1], "r") ? O_RDONLY : !strcmp(argv[1], "w") ? O_WRONLY : O_RDWR;
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
	printf("%d failed\n", failed);
	return failed != 0;
}
