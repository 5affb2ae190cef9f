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
#include <security/pam_ext.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT_MS 30000
#define MOST_LINES 40

struct reader {
	pam_handle_t *pamh;
	const struct berth_options *o;
	char line[512];
	size_t used;
	int lines;
	int result; /* -1 until the worker has said it */
};

static void take_line(struct reader *r)
{
	static const struct { char mark; int level; } marks[] = { { 'W', LOG_WARNING }, { 'D', LOG_DEBUG } };
	int level = LOG_ERR;
	const char *text = r->line;

	r->line[r->used] = 0;
	r->used = 0;
	if (text[0] == 'R') {
		int code = atoi(text + 1);
		r->result = code >= 0 && code < _PAM_RETURN_VALUES ? code : PAM_SESSION_ERR;
		return;
	}
	if (!text[0] || r->lines++ >= MOST_LINES)
		return;
	if (text[0] == 'U') {
		if (!r->o->silent)
			pam_info(r->pamh, "%s", text + 1);
		return;
	}
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (text[0] == marks[i].mark)
			level = marks[i].level;
	if (level == LOG_DEBUG && !r->o->debug)
		return;
	/* What has no mark is a crashing runtime's. */
	pam_syslog(r->pamh, level, "%s", strchr("EWD", text[0]) ? text + 1 : text);
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
	long end = now_ms() + TIME_LIMIT_MS;
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
			if (buf[i] == '\n' || r->used == sizeof r->line - 1)
				take_line(r);
			if (buf[i] != '\n')
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

__attribute__((noreturn)) static void child(const char *self, char **argv, int result)
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
	raise_limits();
	/* Away from the numbers that are given out next. */
	int high = fcntl(result, F_DUPFD, RESULT_FD + 1);
	int null = open("/dev/null", O_RDWR);
	if (high < 0)
		_exit(126);
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
		_exit(126);
	execve(self, argv, environment);
	_exit(127);
}

static int start_and_read(struct reader *r, const char *self, char **argv)
{
	int ends[2];
	struct sigaction standard = { .sa_handler = SIG_DFL }, old;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		pam_syslog(r->pamh, LOG_ERR, "pipe: %m");
		return PAM_SYSTEM_ERR;
	}
	/* A host that ignores SIGCHLD would have the kernel reap our child. */
	sigaction(SIGCHLD, &standard, &old);
	pid_t pid = fork();
	if (pid == 0)
		child(self, argv, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		pam_syslog(r->pamh, LOG_ERR, "fork: %m");
		close(ends[0]);
		sigaction(SIGCHLD, &old, NULL);
		return PAM_SYSTEM_ERR;
	}
	if (!read_result(r, ends[0])) {
		pam_syslog(r->pamh, LOG_ERR, "the worker was not done after %d s and is killed", TIME_LIMIT_MS / 1000);
		kill(pid, SIGKILL);
	}
	close(ends[0]);
	/* ECHILD: the host was quicker, and that is its right. */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGCHLD, &old, NULL);
	if (r->result < 0) {
		pam_syslog(r->pamh, LOG_ERR, "the worker %s ended without a result", self);
		return PAM_SESSION_ERR;
	}
	return r->result;
}

int berth_work(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o)
{
	struct reader r = { .pamh = pamh, .o = o, .result = -1 };
	Dl_info self;
	char *argv[16] = { 0 };
	int n = 0, failed = 0, result = PAM_BUF_ERR;

	if (!dladdr((void *)berth_work, &self) || !self.dli_fname || self.dli_fname[0] != '/') {
		pam_syslog(pamh, LOG_ERR, "the module does not know its own path");
		return PAM_SYSTEM_ERR;
	}
	argv[n++] = strdup("pam_berth");
	argv[n++] = strdup(WORKER_MARK);
	failed |= asprintf(&argv[n++], "user=%s", pw->pw_name) < 0;
	failed |= asprintf(&argv[n++], "uid=%lu", (unsigned long)pw->pw_uid) < 0;
	failed |= asprintf(&argv[n++], "gid=%lu", (unsigned long)pw->pw_gid) < 0;
	failed |= asprintf(&argv[n++], "home=%s", pw->pw_dir) < 0;
	if (o->skel)
		failed |= asprintf(&argv[n++], "skel=%s", o->skel) < 0;
	if (o->umask)
		failed |= asprintf(&argv[n++], "umask=%s", o->umask) < 0;
	if (!failed && argv[0] && argv[1])
		result = start_and_read(&r, self.dli_fname, argv);
	for (int i = 0; i < n; i++)
		free(argv[i]);
	return result;
}
