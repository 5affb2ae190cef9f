// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM; between fork and exec its child. As: root.
//
// Runs this file as the worker. The host may ignore or steal its children, be
// multi-threaded, block every signal, have no standard files and small limits;
// so the result comes by a pipe, the time is bounded, and the child makes
// async-signal-safe calls only (signal-safety(7)).

#define _GNU_SOURCE
#include "berth.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <security/pam_ext.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define MOST_LINES 40
/* How long a worker that has answered may take to end. */
#define UNTIL_KILL_MS 1000
/* How long one that was killed may take to be dead. */
#define UNTIL_DEAD_MS 1000

struct reader {
	pam_handle_t *pamh;
	const struct berth_options *o;
	const char *self; /* what runs as the worker */
	char line[512];
	size_t used;
	int lines;
	int told;   /* the user has been told something */
	int result; /* -1 until the worker has said it */
};

/* The number that is all of text, or -1. */
static int digits(const char *text)
{
	int n = *text ? 0 : -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > 9999)
			return -1;
		n = n * 10 + (*text - '0');
	}
	return n;
}

/* The line goes to a log and a terminal: no control character goes along, be it
 * one byte or, in UTF-8, two (U+0080 to U+009F). */
static void clean(unsigned char *text, size_t n)
{
	text[n] = 0;
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\t')
			text[i] = ' ';
		else if (text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
		else if (text[i] == 0xc2 && text[i + 1] >= 0x80 && text[i + 1] <= 0x9f)
			text[i] = text[i + 1] = '?';
}

static void take_line(struct reader *r)
{
	static const struct { char mark; int level; } marks[] = { { 'W', LOG_WARNING }, { 'I', LOG_INFO }, { 'D', LOG_DEBUG } };
	int level = LOG_ERR;
	const char *text = r->line;

	clean((unsigned char *)r->line, r->used);
	r->used = 0;
	int code = digits(text[0] ? text + 1 : "");
	if (text[0] == 'R' && code >= 0 && code < _PAM_RETURN_VALUES) {
		r->result = code;
		return;
	}
	if (text[0] == 'X' && code > 0) {
		errno = code;
		pam_syslog(r->pamh, LOG_ERR, "the worker %s could not be run: %m", r->self);
		r->result = PAM_SYSTEM_ERR;
		return;
	}
	if (!text[0] || r->lines++ >= MOST_LINES)
		return;
	if (text[0] == 'U') {
		if (!r->o->silent && !r->told++)
			pam_info(r->pamh, "%s", text + 1);
		return;
	}
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (text[0] == marks[i].mark)
			level = marks[i].level;
	if (level == LOG_DEBUG && !r->o->debug)
		return;
	/* What has no mark is a crashing runtime's. */
	pam_syslog(r->pamh, level, "%s", strchr("EWID", text[0]) ? text + 1 : text);
}

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads until the worker has said its result, closed the pipe, or used up its
 * time. Only the first two mean that it is done. */
static int read_result(struct reader *r, int fd)
{
	long end = now_ms() + r->o->timeout * 1000L;
	for (;;) {
		char buf[1024];
		struct pollfd p = { .fd = fd, .events = POLLIN };
		long left = end - now_ms();
		if (left <= 0)
			return 0;
		int n = poll(&p, 1, (int)left);
		if (n < 0 && errno != EINTR)
			return 0;
		if (n <= 0)
			continue;
		ssize_t got = read(fd, buf, sizeof buf);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return 1;
		for (ssize_t i = 0; i < got; i++) {
			if (buf[i] == '\n')
				take_line(r);
			else if (r->used < sizeof r->line - 1) /* what is longer is cut */
				r->line[r->used++] = buf[i];
			if (r->result >= 0)
				return 1;
		}
	}
}

static void raise_limits(void)
{
	static const int unlimited[] = { RLIMIT_AS, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_NPROC };
	struct rlimit l = { 0, 0 };
	setrlimit(RLIMIT_CORE, &l);
	for (size_t i = 0; i < sizeof unlimited / sizeof *unlimited; i++) {
		l.rlim_cur = l.rlim_max = RLIM_INFINITY;
		if (setrlimit(unlimited[i], &l) != 0 && getrlimit(unlimited[i], &l) == 0) {
			l.rlim_cur = l.rlim_max;
			setrlimit(unlimited[i], &l);
		}
	}
	/* A host may leave us eight; Go wants a few for its poller and ours. */
	l.rlim_cur = l.rlim_max = 1024;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0 && getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Tells the parent, by the pipe at fd, why there is no worker. */
__attribute__((noreturn)) static void no_worker(int fd, int error)
{
	char line[] = "X000\n";
	for (int i = 3; i > 0; i--, error /= 10)
		line[i] = (char)('0' + error % 10);
	if (write(fd, line, sizeof line - 1) < 0)
		_exit(126);
	_exit(127);
}

__attribute__((noreturn)) static void child(const struct reader *r, char **argv, int result)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	static char *environment[] = { path, NULL };
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	/* Were the host killed, nobody else would end a worker that hangs. */
	alarm((unsigned)r->o->timeout + 1);
	raise_limits();
	/* Away from the numbers that are given out next. */
	int high = fcntl(result, F_DUPFD, RESULT_FD + 1);
	int null = open("/dev/null", O_RDWR);
	if (high < 0)
		no_worker(result, errno);
	for (int fd = 0; fd < 2; fd++)
		if (null >= 0)
			dup2(null, fd);
		else
			close(fd);
	dup2(high, 2);
	dup2(high, RESULT_FD);
	close_range(RESULT_FD + 1, ~0U, 0);
	umask(077);
	if (chdir("/") != 0 || setgroups(0, NULL) != 0 || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
		no_worker(RESULT_FD, errno);
	execve(r->self, argv, environment);
	no_worker(RESULT_FD, errno);
}

/* Whether the process of the pidfd ends within some time. */
static int ends_within(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;
	for (long end = now_ms() + ms; (n = poll(&p, 1, ms)) < 0 && errno == EINTR && ms > 0;)
		ms = end > now_ms() ? (int)(end - now_ms()) : 0;
	return n > 0;
}

/* Ends the worker and takes its status, or -1 where the host was quicker to
 * take it, as is its right. A pidfd cannot mean another process. */
static int end_worker(struct reader *r, pid_t pid, int pidfd, int patience)
{
	int status = -1, wait = 0;

	if (pidfd < 0) {
		if (waitpid(pid, &status, WNOHANG) == 0)
			kill(pid, SIGKILL);
	} else if (!ends_within(pidfd, patience)) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		if (!ends_within(pidfd, UNTIL_DEAD_MS)) {
			/* It hangs in the kernel, as on a frozen file system. */
			pam_syslog(r->pamh, LOG_ERR, "the worker, process %d, does not die and is left behind", (int)pid);
			wait = WNOHANG;
		}
	}
	if (pidfd >= 0)
		close(pidfd);
	while (waitpid(pid, &status, wait) < 0 && errno == EINTR)
		;
	return status;
}

static int start_and_read(struct reader *r, char **argv)
{
	int ends[2], pidfd = -1, timely = 1, status = -1;
	struct sigaction standard = { .sa_handler = SIG_DFL }, chld;
	sigset_t all, mask;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		pam_syslog(r->pamh, LOG_ERR, "pipe: %m");
		return PAM_SYSTEM_ERR;
	}
	/* A host that ignores SIGCHLD would have the kernel reap our child; and the
	 * host's other handlers must not run in it. */
	sigaction(SIGCHLD, &standard, &chld);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &mask);
	pid_t pid = fork();
	if (pid == 0)
		child(r, argv, ends[1]);
	int failure = errno;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	close(ends[1]);
	if (pid > 0) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		timely = read_result(r, ends[0]);
		status = end_worker(r, pid, pidfd, timely ? UNTIL_KILL_MS : 0);
	}
	close(ends[0]);
	sigaction(SIGCHLD, &chld, NULL);
	if (pid < 0) {
		errno = failure;
		pam_syslog(r->pamh, LOG_ERR, "fork: %m");
		return PAM_SYSTEM_ERR;
	}
	if (r->result >= 0)
		return r->result;
	if (r->line[0] != 'R') /* a result that is not whole is none */
		take_line(r);
	if (!timely)
		pam_syslog(r->pamh, LOG_ERR, "the worker was not done after %d s and was killed", r->o->timeout);
	else if (status != -1 && WIFSIGNALED(status))
		pam_syslog(r->pamh, LOG_ERR, "the worker %s ended without a result: signal %d", r->self, WTERMSIG(status));
	else
		pam_syslog(r->pamh, LOG_ERR, "the worker %s ended without a result: status %d", r->self, status == -1 ? -1 : WEXITSTATUS(status));
	return PAM_SESSION_ERR;
}

/* An errand's arguments, NULL at the end. */
struct arguments {
	char *argv[24];
	int n;
	int failed; /* the heap had no room for one */
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	if (vasprintf(&a->argv[a->n], format, list) >= 0)
		a->n++;
	else
		a->argv[a->n] = NULL, a->failed = 1;
	va_end(list);
}

static void add_user(struct arguments *a, const char *errand, const struct passwd *pw)
{
	add(a, "pam_berth");
	add(a, "%s", errand);
	add(a, "user=%s", pw->pw_name);
	add(a, "uid=%lu", (unsigned long)pw->pw_uid);
	add(a, "gid=%lu", (unsigned long)pw->pw_gid);
	add(a, "home=%s", pw->pw_dir);
}

/* Her groups, by which she may reach her home. Those that do not fit are the
 * worker's loss: it works with her rights, never with more. */
static void add_groups(struct arguments *a, const struct passwd *pw)
{
	gid_t groups[256];
	char text[256 * 11], *at = text;
	int n = sizeof groups / sizeof *groups;
	if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
		n = sizeof groups / sizeof *groups;
	for (int i = 0; i < n; i++)
		at += sprintf(at, "%s%lu", i ? "," : "", (unsigned long)groups[i]);
	if (n > 0)
		add(a, "groups=%s", text);
}

static int run(struct reader *r, struct arguments *a)
{
	Dl_info self;
	int result = PAM_SYSTEM_ERR;

	if (a->failed) {
		result = PAM_BUF_ERR;
	} else if (!dladdr((void *)berth_home, &self) || !self.dli_fname || self.dli_fname[0] != '/') {
		pam_syslog(r->pamh, LOG_ERR, "the module does not know its own path");
	} else {
		r->self = self.dli_fname;
		result = start_and_read(r, a->argv);
	}
	for (int i = 0; i < a->n; i++)
		free(a->argv[i]);
	return result;
}

int berth_home(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o)
{
	struct reader r = { .pamh = pamh, .o = o, .result = -1 };
	struct arguments a = { .n = 0 };
	add_user(&a, ERRAND_HOME, pw);
	add_groups(&a, pw);
	for (int i = 0; i < BERTH_PASSED; i++)
		if (o->passed[i])
			add(&a, "%s", o->passed[i]);
	int result = run(&r, &a);
	/* A worker that came to a result has told her why. */
	if (result != PAM_SUCCESS && !(r.told && r.result >= 0) && !o->silent)
		pam_error(pamh, "Your home directory could not be prepared; please tell the administrator.");
	return result;
}

int berth_exec(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o, const char *type)
{
	/* What pam_exec(8) tells its script. PAM's own environment is left out: the
	 * user may have a hand in it (pam_env's user_readenv). */
	static const struct { int item; const char *name; } items[] = {
		{ PAM_RHOST, "PAM_RHOST" }, { PAM_RUSER, "PAM_RUSER" }, { PAM_SERVICE, "PAM_SERVICE" }, { PAM_TTY, "PAM_TTY" },
	};
	struct reader r = { .pamh = pamh, .o = o, .result = -1 };
	struct arguments a = { .n = 0 };
	add_user(&a, ERRAND_EXEC, pw);
	add(&a, "exec=%s", o->exec);
	add(&a, "timeout=%d", o->timeout);
	add(&a, "PAM_TYPE=%s", type);
	for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
		const void *value = NULL;
		if (pam_get_item(pamh, items[i].item, &value) == PAM_SUCCESS && value)
			add(&a, "%s=%s", items[i].name, (const char *)value);
	}
	return run(&r, &a);
}
