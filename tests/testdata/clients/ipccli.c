/*
 * ipccli OPERATION... performs its arguments as system calls, one after another, and prints one line for each:
 * what the call returned, or the name of its errno. It goes on after an error and exits with status 0.
 *
 *   ipccli 'open mailboxes/jobs wronly|nonblock' 'write hello' 'write again'
 *   ok
 *   5
 *   EAGAIN
 *
 * The words of an operation are separated by spaces; \n, \\ and \xHH stand for bytes. Operations on a file take the
 * one opened last, or the one chosen by "use N", counted from 0 in the order of opening.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int files[64], opened, fd = -1, epfd = -1;
static char *word[16]; /* of the current operation, decoded */
static int words;

static void usage(const char *why)
{
	fprintf(stderr, "ipccli: %s\n", why);
	exit(2);
}

/* failed prints the errno's name. */
static void failed(void)
{
	const char *name = strerrorname_np(errno);
	puts(name ? name : "an unknown errno");
}

static void done(long r)
{
	if (r < 0)
		failed();
	else
		puts("ok");
}

static void counted(long r)
{
	if (r < 0)
		failed();
	else
		printf("%ld\n", r);
}

/* decode replaces \n, \\ and \xHH in place and returns the length. */
static size_t decode(char *s)
{
	char *from = s, *to = s;
	while (*from) {
		if (*from != '\\') {
			*to++ = *from++;
		} else if (from[1] == 'n') {
			*to++ = '\n', from += 2;
		} else if (from[1] == 'x') {
			char hex[3] = {from[2], from[3], 0};
			*to++ = (char)strtol(hex, NULL, 16), from += 4;
		} else {
			*to++ = from[1], from += 2;
		}
	}
	*to = 0;
	return to - s;
}

static void need(int n)
{
	if (words < n)
		usage("too few words in an operation");
}

static long number(int i, long otherwise)
{
	return i < words ? strtol(word[i], NULL, 0) : otherwise;
}

static long mode(int i, long otherwise)
{
	return i < words ? strtol(word[i], NULL, 8) : otherwise;
}

struct flag {
	const char *name;
	int value;
};

static int flags(int i, const struct flag *known)
{
	int all = 0;
	need(i + 1);
	char *copy = strdup(word[i]), *save;
	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save)) {
		const struct flag *f = known;
		while (f->name && strcmp(f->name, w))
			f++;
		if (!f->name)
			usage("unknown flag");
		all |= f->value;
	}
	free(copy);
	return all;
}

static const struct flag open_flags[] = {
	{"rdonly", O_RDONLY}, {"wronly", O_WRONLY}, {"rdwr", O_RDWR}, {"nonblock", O_NONBLOCK}, {"trunc", O_TRUNC},
	{"append", O_APPEND}, {"creat", O_CREAT}, {"excl", O_EXCL}, {"directory", O_DIRECTORY}, {NULL, 0}};
static const struct flag poll_events[] = {
	{"in", POLLIN}, {"out", POLLOUT}, {"pri", POLLPRI}, {"err", POLLERR}, {"hup", POLLHUP}, {NULL, 0}};
static const struct flag epoll_events[] = {{"in", EPOLLIN}, {"out", EPOLLOUT}, {"et", (int)EPOLLET}, {NULL, 0}};
static const struct flag flock_words[] = {{"sh", LOCK_SH}, {"ex", LOCK_EX}, {"un", LOCK_UN}, {"nb", LOCK_NB}, {NULL, 0}};
static const struct flag lock_words[] = {{"rd", F_RDLCK}, {"wr", F_WRLCK}, {"un", F_UNLCK}, {NULL, 0}};
static const struct flag signals[] = {
	{"usr1", SIGUSR1}, {"usr2", SIGUSR2}, {"term", SIGTERM}, {"int", SIGINT}, {"alrm", SIGALRM},
	{"pipe", SIGPIPE}, {NULL, 0}};
static const struct flag whences[] = {{"set", SEEK_SET}, {"cur", SEEK_CUR}, {"end", SEEK_END}, {NULL, 0}};

/* shown prints what was read: quoted, or when it is long, its length and byte, or its length and a checksum. */
static void shown(const unsigned char *b, long n)
{
	if (n < 0) {
		failed();
		return;
	}
	if (n > 200) {
		uint64_t sum = 14695981039346656037ULL; /* FNV-1a */
		int uniform = 1;
		for (long i = 0; i < n; i++) {
			sum = (sum ^ b[i]) * 1099511628211ULL;
			uniform = uniform && b[i] == b[0];
		}
		if (uniform)
			printf("%ld*%c\n", n, b[0]);
		else
			printf("%ld bytes, sum %016llx\n", n, (unsigned long long)sum);
		return;
	}
	putchar('"');
	for (long i = 0; i < n; i++) {
		if (b[i] == '\n')
			fputs("\\n", stdout);
		else if (b[i] == '"' || b[i] == '\\')
			printf("\\%c", b[i]);
		else if (b[i] < ' ' || b[i] > '~')
			printf("\\x%02x", b[i]);
		else
			putchar(b[i]);
	}
	puts("\"");
}

static void events(int e, const struct flag *known)
{
	int any = 0;
	for (; known->name; known++)
		if (e & known->value)
			printf("%s%s", any++ ? "|" : "", known->name);
	puts(any ? "" : "none");
}

static volatile sig_atomic_t last_caught;

static void caught(int sig) { last_caught = sig; }

static void do_open(void)
{
	need(3);
	int f = open(word[1], flags(2, open_flags), mode(3, 0600));
	if (f < 0) {
		failed();
		return;
	}
	fd = files[opened++] = f;
	puts("ok");
}

static void do_use(void) { fd = files[number(1, 0)], puts("ok"); }
static void do_close(void) { done(close(fd)); }

static void do_read(void)
{
	long n = number(1, 1 << 20);
	unsigned char *b = malloc(n + 1);
	shown(b, read(fd, b, n));
	free(b);
}

/* do_readr reads again for as long as a signal interrupts. */
static void do_readr(void)
{
	long n = number(1, 1 << 20), r;
	unsigned char *b = malloc(n + 1);
	do
		r = read(fd, b, n);
	while (r < 0 && errno == EINTR);
	shown(b, r);
	free(b);
}

static void do_pread(void)
{
	need(3);
	long n = number(1, 0);
	unsigned char *b = malloc(n + 1);
	shown(b, pread(fd, b, n, number(2, 0)));
	free(b);
}

static void do_write(void) { counted(words < 2 ? write(fd, "", 0) : write(fd, word[1], strlen(word[1]))); }

/* fill N C writes N bytes C at once. */
static void do_fill(void)
{
	need(3);
	long n = number(1, 0);
	char *b = aligned_alloc(4096, (n + 8191) / 4096 * 4096);
	memset(b, word[2][0], n);
	counted(write(fd, b, n));
	free(b);
}

/* writes N TEXT writes TEXT N times, up to the first error; it prints how many went well. */
static void do_writes(void)
{
	need(3);
	long n = number(1, 0), i;
	for (i = 0; i < n; i++)
		if (write(fd, word[2], strlen(word[2])) < 0)
			break;
	if (i == n)
		printf("%ld\n", i);
	else
		printf("%ld ", i), failed();
}

/* drain SIZE reads until an error; it prints how many reads gave something, and the error. */
static void do_drain(void)
{
	long n = number(1, 4096), got = 0, r;
	char *b = malloc(n);
	while ((r = read(fd, b, n)) >= 0)
		got += r > 0;
	free(b);
	printf("%ld ", got), failed();
}

static void do_lseek(void) { need(3), counted(lseek(fd, number(1, 0), flags(2, whences))); }
static void do_ftruncate(void) { done(ftruncate(fd, number(1, 0))); }
static void do_truncate(void) { need(2), done(truncate(word[1], number(2, 0))); }
static void do_fsync(void) { done(fsync(fd)); }
static void do_chmod(void) { need(3), done(chmod(word[1], mode(2, 0))); }
static void do_fchmod(void) { need(2), done(fchmod(fd, mode(1, 0))); }
static void do_chown(void) { need(4), done(chown(word[1], number(2, -1), number(3, -1))); }
static void do_utime(void) { need(2), done(utimensat(AT_FDCWD, word[1], NULL, 0)); }
static void do_unlink(void) { need(2), done(unlink(word[1])); }
static void do_mkdir(void) { need(2), done(mkdir(word[1], mode(2, 0700))); }
static void do_rmdir(void) { need(2), done(rmdir(word[1])); }
static void do_rename(void) { need(3), done(rename(word[1], word[2])); }
static void do_noreplace(void) { need(3), done(renameat2(AT_FDCWD, word[1], AT_FDCWD, word[2], RENAME_NOREPLACE)); }
static void do_link(void) { need(3), done(link(word[1], word[2])); }
static void do_symlink(void) { need(3), done(symlink(word[1], word[2])); }
static void do_mkchar(void) { need(2), done(mknod(word[1], S_IFCHR | 0600, makedev(1, 3))); }
static void do_umask(void) { umask(mode(1, 0)), puts("ok"); }
static void do_say(void) { puts(words > 1 ? word[1] : ""); }

static void do_stat(void)
{
	struct stat st;
	need(2);
	if (stat(word[1], &st) < 0)
		failed();
	else
		printf("%o %d:%d %lld\n", st.st_mode & 07777, st.st_uid, st.st_gid, (long long)st.st_size);
}

static void do_mmap(void)
{
	need(2);
	int kind = strcmp(word[1], "private") ? MAP_SHARED : MAP_PRIVATE;
	void *p = mmap(NULL, 4096, PROT_READ, kind, fd, 0);
	done(p == MAP_FAILED ? -1 : 0);
}

static void do_nonblock(void)
{
	int f = fcntl(fd, F_GETFL);
	need(2);
	done(fcntl(fd, F_SETFL, strcmp(word[1], "on") ? f & ~O_NONBLOCK : f | O_NONBLOCK));
}

/* catch SIGNAL installs a handler without SA_RESTART, so that a blocking call ends with EINTR. */
static void do_catch(void)
{
	struct sigaction act = {.sa_handler = caught};
	done(sigaction(flags(1, signals), &act, NULL));
}

/* caught prints which signal was caught last, once. */
static void do_caught(void)
{
	printf("%s\n", last_caught ? sigabbrev_np(last_caught) : "none");
	last_caught = 0;
}

/* pause waits for a line on standard input. */
static void do_pause(void)
{
	int c;
	while ((c = getchar()) != '\n' && c != EOF)
		;
	puts("ok");
}

static void do_poll(void)
{
	struct pollfd p = {.fd = fd, .events = flags(1, poll_events)};
	if (poll(&p, 1, number(2, -1)) < 0)
		failed();
	else
		events(p.revents, poll_events);
}

static void do_select(void)
{
	int want = flags(1, poll_events);
	long ms = number(2, -1);
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	fd_set in, out;
	FD_ZERO(&in);
	FD_ZERO(&out);
	if (want & POLLIN)
		FD_SET(fd, &in);
	if (want & POLLOUT)
		FD_SET(fd, &out);
	if (select(fd + 1, &in, &out, NULL, ms < 0 ? NULL : &tv) < 0)
		failed();
	else
		events((FD_ISSET(fd, &in) ? POLLIN : 0) | (FD_ISSET(fd, &out) ? POLLOUT : 0), poll_events);
}

static void do_epoll_add(void)
{
	struct epoll_event e = {.events = (uint32_t)flags(1, epoll_events)};
	if (epfd < 0)
		epfd = epoll_create1(0);
	done(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e));
}

static void do_epoll_wait(void)
{
	struct epoll_event e = {0};
	int n = epoll_wait(epfd, &e, 1, number(1, -1));
	if (n < 0)
		failed();
	else
		events(n ? (int)e.events : 0, poll_events);
}

static void do_flock(void) { done(flock(fd, flags(1, flock_words))); }

static void fcntl_lock(int cmd)
{
	struct flock l = {.l_type = flags(1, lock_words), .l_whence = SEEK_SET, .l_start = number(2, 0), .l_len = number(3, 0)};
	int r = fcntl(fd, cmd, &l);
	if (r < 0 || cmd != F_GETLK)
		done(r);
	else if (l.l_type == F_UNLCK)
		puts("un");
	else
		printf("%s %d %ld %ld\n", l.l_type == F_RDLCK ? "rd" : "wr", l.l_pid, (long)l.l_start, (long)l.l_len);
}

static void do_lock(void) { fcntl_lock(F_SETLK); }
static void do_lockw(void) { fcntl_lock(F_SETLKW); }
static void do_getlk(void) { fcntl_lock(F_GETLK); }

static const struct {
	const char *name;
	void (*run)(void);
	int text; /* the second or third word is the rest of the argument, spaces included */
} operations[] = {
	{"open", do_open, 0}, {"use", do_use, 0}, {"close", do_close, 0}, {"read", do_read, 0}, {"readr", do_readr, 0},
	{"pread", do_pread, 0}, {"write", do_write, 2}, {"fill", do_fill, 0}, {"writes", do_writes, 3},
	{"drain", do_drain, 0}, {"lseek", do_lseek, 0}, {"ftruncate", do_ftruncate, 0}, {"truncate", do_truncate, 0},
	{"fsync", do_fsync, 0}, {"chmod", do_chmod, 0}, {"fchmod", do_fchmod, 0}, {"chown", do_chown, 0},
	{"utime", do_utime, 0}, {"unlink", do_unlink, 0}, {"mkdir", do_mkdir, 0}, {"rmdir", do_rmdir, 0},
	{"rename", do_rename, 0}, {"noreplace", do_noreplace, 0}, {"link", do_link, 0}, {"symlink", do_symlink, 0},
	{"mkchar", do_mkchar, 0}, {"umask", do_umask, 0}, {"say", do_say, 2}, {"stat", do_stat, 0}, {"mmap", do_mmap, 0},
	{"nonblock", do_nonblock, 0}, {"catch", do_catch, 0}, {"caught", do_caught, 0}, {"pause", do_pause, 0}, {"poll", do_poll, 0},
	{"select", do_select, 0}, {"epoll-add", do_epoll_add, 0}, {"epoll-wait", do_epoll_wait, 0},
	{"flock", do_flock, 0}, {"lock", do_lock, 0}, {"lockw", do_lockw, 0}, {"getlk", do_getlk, 0}};

static void perform(char *operation)
{
	char *rest = operation;
	size_t known = sizeof operations / sizeof operations[0], o = 0;
	for (words = 0; rest && words < 16;) {
		if (words == 1) {
			for (o = 0; o < known && strcmp(operations[o].name, word[0]); o++)
				;
			if (o == known)
				break;
		}
		int last = words > 0 && operations[o].text == words + 1;
		word[words++] = last ? rest : strsep(&rest, " ");
		if (last)
			break;
	}
	for (o = 0; o < known && strcmp(operations[o].name, word[0]); o++)
		;
	if (o == known)
		usage("unknown operation");
	for (int i = 1; i < words; i++)
		decode(word[i]);
	operations[o].run();
	fflush(stdout);
}

int main(int argc, char **argv)
{
	setvbuf(stdin, NULL, _IONBF, 0);
	for (int i = 1; i < argc; i++)
		perform(strdup(argv[i]));
	return 0;
}
