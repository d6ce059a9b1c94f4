/*
 * shared FILE MODE FIRST SECOND [NEW] opens FILE to read (r), to write (w) or by its path only (p) as descriptor 3 and
 * has two children use it, one after the other. It prints "FIRST PID" and, when it has read a line, "SECOND PID". Each
 * child prints its operation and what came of it: a number or the name of an errno. For a child that a signal ended
 * shared prints "PID killed".
 *
 * NEW is the new name that the operations of link(2) and rename(2) give. The first child repeats an operation that ends
 * with EINTR if its name ends in "!".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *file, *new;

static void *map(int ring, size_t size, off_t what)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
}

/* ring_linkat is linkat(2) by io_uring(7), in a thread of the kernel's making. */
static long ring_linkat(const char *old, int flags)
{
	struct io_uring_params p = {0};
	int ring = syscall(SYS_io_uring_setup, 1, &p);
	if (ring < 0)
		return -1;
	char *sq = map(ring, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	char *cq = map(ring, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	struct io_uring_sqe *e = map(ring, p.sq_entries * sizeof *e, IORING_OFF_SQES);
	memset(e, 0, sizeof *e);
	e->opcode = IORING_OP_LINKAT;
	e->fd = AT_FDCWD, e->addr = (unsigned long)old;
	e->len = AT_FDCWD, e->addr2 = (unsigned long)new;
	e->hardlink_flags = flags;
	((unsigned *)(sq + p.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	int res = ((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res;
	if (res < 0)
		errno = -res;
	return res < 0 ? -1 : res;
}

static long perform(const char *op);

static void *in_thread(void *op)
{
	long r = perform(op);
	return (void *)(r < 0 ? -(long)errno : r);
}

static long perform(const char *op)
{
	char b[100];
	if (!strncmp(op, "thread-", 7)) {
		pthread_t t;
		void *r;
		pthread_create(&t, NULL, in_thread, (void *)(op + 7));
		pthread_join(t, &r);
		if ((long)r < 0)
			errno = -(long)r;
		return (long)r < 0 ? -1 : (long)r;
	}
	if (!strcmp(op, "write"))
		return write(3, "parked", 6);
	if (!strcmp(op, "read"))
		return read(3, b, sizeof b);
	if (!strcmp(op, "lseek"))
		return lseek(3, 0, SEEK_SET);
	if (!strcmp(op, "futimens"))
		return futimens(3, NULL);
	if (!strcmp(op, "utimensat"))
		return utimensat(AT_FDCWD, file, NULL, 0);
	if (!strcmp(op, "fsync"))
		return fsync(3);
	if (!strcmp(op, "fallocate"))
		return fallocate(3, 0, 0, 10);
	if (!strcmp(op, "sendfile"))
		return sendfile(3, open("/etc/passwd", O_RDONLY), NULL, 10);
	if (!strcmp(op, "setxattr"))
		return fsetxattr(3, "user.x", "y", 1, 0);
	if (!strcmp(op, "ftruncate"))
		return ftruncate(3, 0);
	if (!strcmp(op, "fchmod"))
		return fchmod(3, 0666);
	if (!strcmp(op, "fchown"))
		return fchown(3, getuid(), getgid());
	if (!strcmp(op, "link"))
		return linkat(AT_FDCWD, "/proc/self/fd/3", AT_FDCWD, new, AT_SYMLINK_FOLLOW);
	if (!strcmp(op, "link-of-parent")) {
		snprintf(b, sizeof b, "/proc/%d/fd/3", getppid());
		return linkat(AT_FDCWD, b, AT_FDCWD, new, AT_SYMLINK_FOLLOW);
	}
	if (!strcmp(op, "link-empty"))
		return linkat(3, "", AT_FDCWD, new, AT_EMPTY_PATH);
	if (!strcmp(op, "link-ring"))
		return ring_linkat("/proc/self/fd/3", AT_SYMLINK_FOLLOW);
	if (!strcmp(op, "link-path"))
		return link(file, new);
	if (!strcmp(op, "rename"))
		return rename(file, new);
	if (!strcmp(op, "reopen-write")) {
		int fd = open(file, O_WRONLY);
		return fd < 0 ? -1 : write(fd, "second", 6);
	}
	fprintf(stderr, "shared: no operation %s\n", op);
	exit(2);
}

static pid_t child(const char *op)
{
	int go[2];
	if (pipe2(go, O_CLOEXEC))
		exit(1);
	pid_t pid = fork();
	if (pid) {
		printf("%s %d\n", op, pid);
		close(go[0]), close(go[1]);
		return pid;
	}
	char bare[100];
	close(go[1]);
	if (read(go[0], bare, 1)) /* until the parent has printed */
		exit(1);
	close(go[0]);
	snprintf(bare, sizeof bare, "%s", op);
	int again = bare[strlen(bare) - 1] == '!';
	if (again)
		bare[strlen(bare) - 1] = 0;
	long r;
	do
		r = perform(bare);
	while (again && r < 0 && errno == EINTR);
	if (r < 0)
		printf("%s %s\n", bare, strerrorname_np(errno));
	else
		printf("%s %ld\n", bare, r);
	exit(0);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 5)
		return 2;
	file = argv[1], new = argv[5];
	int fd = open(file, *argv[2] == 'r' ? O_RDONLY : *argv[2] == 'w' ? O_WRONLY : O_PATH);
	if (fd < 0 || (fd != 3 && dup2(fd, 3) < 0)) {
		perror(file);
		return 1;
	}
	child(argv[3]);
	while (getchar() != '\n')
		;
	child(argv[4]);
	int status;
	for (pid_t pid; (pid = wait(&status)) > 0;)
		if (WIFSIGNALED(status))
			printf("%d killed\n", pid);
	return 0;
}
