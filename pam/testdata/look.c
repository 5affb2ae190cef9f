// SPDX-License-Identifier: Apache-2.0
//
// What a process looks like, and what has changed.
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define MOST_FDS 64

int differs;
extern char **environ;

/* The kernel's own struct: glibc hides two signals and the restorer. */
struct action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

/* Descriptors of /proc and of this process's status file there. */
static int proc = -1, status = -1;

/* High numbers leave the low ones to the module, where there are any. */
static int high(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 20);
	if (moved < 0 && errno == EINVAL)
		return fd;
	if (moved < 0) {
		perror("/proc/self/status");
		exit(2);
	}
	close(fd);
	return moved;
}

static void open_proc(void)
{
	static pid_t whose;
	if (whose == getpid())
		return;
	if (proc < 0)
		proc = high(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (status >= 0)
		close(status); /* the parent's */
	status = high(openat(proc, "self/status", O_RDONLY | O_CLOEXEC));
	whose = getpid();
}

static void link_line(FILE *to, const char *what)
{
	char target[512];
	ssize_t n = readlinkat(proc, what, target, sizeof target);
	if (n >= 0)
		fprintf(to, "%s %.*s\n", what, (int)n, target);
}

static void status_lines(FILE *to)
{
	static const char *const wanted[] = { "Name", "Umask", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp" };
	char text[8192];
	ssize_t n = pread(status, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])) && line[strlen(wanted[i])] == ':')
				fprintf(to, "%s\n", line);
}

char *snapshot(void)
{
	char *text = NULL, name[32];
	size_t size;
	struct itimerval timer;

	open_proc();
	FILE *to = open_memstream(&text, &size);
	if (!to)
		abort();
	status_lines(to);
	for (int fd = 0; fd < MOST_FDS; fd++) {
		snprintf(name, sizeof name, "self/fd/%d", fd);
		link_line(to, name);
		int flags = fcntl(fd, F_GETFD);
		if (flags >= 0)
			fprintf(to, "fd %d flags %d %d\n", fd, flags, fcntl(fd, F_GETFL));
	}
	for (int sig = 1; sig <= 64; sig++) {
		struct action a = { 0 };
		if (syscall(SYS_rt_sigaction, sig, NULL, &a, sizeof a.mask) == 0)
			fprintf(to, "signal %d %p %lx %lx\n", sig, (void *)a.handler, a.flags, a.mask);
	}
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit l = { 0, 0 };
		getrlimit(i, &l);
		fprintf(to, "limit %d %ld %ld\n", i, (long)l.rlim_cur, (long)l.rlim_max);
	}
	link_line(to, "self/cwd");
	link_line(to, "self/root");
	fprintf(to, "session %d group %d nice %d scheduler %d\n", getsid(0), getpgrp(), getpriority(PRIO_PROCESS, 0), sched_getscheduler(0));
	fprintf(to, "dumpable %d subreaper %d keepcaps %d\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_CHILD_SUBREAPER, &size), prctl(PR_GET_KEEPCAPS));
	for (int i = ITIMER_REAL; i <= ITIMER_PROF; i++)
		fprintf(to, "timer %d %s\n", i, getitimer(i, &timer) == 0 && timer.it_value.tv_sec ? "runs" : "off");
	for (char **e = environ; e && *e; e++)
		fprintf(to, "environment %s\n", *e);
	fclose(to);
	return text;
}

static int has(const char *text, const char *line, size_t n)
{
	for (const char *at = text; (at = strstr(at, line)); at++)
		if ((at == text || at[-1] == '\n') && strcspn(at, "\n") == n)
			return 1;
	return 0;
}

/* Calls act with each line of a that b has not. */
static int only(const char *what, const char *mark, const char *a, const char *b)
{
	int n = 0;
	char *copy = strdup(a), *state = NULL;
	for (char *line = strtok_r(copy, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		if (!has(b, line, strlen(line))) {
			fprintf(report, "%s changed: %s %s\n", what, mark, line);
			n++;
		}
	free(copy);
	return n;
}

void compare(const char *what, const char *before, const char *after)
{
	if (only(what, "-", before, after) + only(what, "+", after, before))
		differs = 1;
}

void look(const char *when)
{
	char *text = snapshot();
	char *state = NULL;
	for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		fprintf(report, "%s %s\n", when, line);
	free(text);
}
