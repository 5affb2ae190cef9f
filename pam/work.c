// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM; between fork and exec its child. As: root.
//
// Runs this file as the worker. The host may ignore or steal its children, be
// multi-threaded, block every signal, have no standard files and small limits;
// so the result comes by a pipe, the time is bounded, and the child makes
// async-signal-safe calls only (signal-safety(7)).

#define _GNU_SOURCE
#include "answer.h"
#include "berth.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
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
#include <unistd.h>

/* How long a worker that has answered may take to end. */
#define UNTIL_KILL_MS 1000
/* How long one that was killed may take to be dead. */
#define UNTIL_DEAD_MS 1000

/* A stack that is enough for any program. */
#define STACK (8 << 20)

/* pam_limits stands before a line with container, and may have left little. */
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
	if (getrlimit(RLIMIT_STACK, &l) == 0 && l.rlim_cur < STACK) {
		l.rlim_cur = STACK;
		if (l.rlim_max < STACK)
			l.rlim_max = STACK;
		setrlimit(RLIMIT_STACK, &l);
	}
	if (getpriority(PRIO_PROCESS, 0) > 0)
		setpriority(PRIO_PROCESS, 0, 0);
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
	/* Where the limit cannot be raised a file that is too big is an error, after
	 * which the worker cleans up, not its death. */
	standard.sa_handler = SIG_IGN;
	sigaction(SIGXFSZ, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	/* Were the host killed, nobody else would end a worker that hangs. */
	long left = r->end - berth_now_ms();
	alarm(left > 0 ? (unsigned)(left / 1000) + 2 : 1);
	raise_limits();
	/* The host may have no number left: ours come out of those it gives up. */
	if (result == RESULT_FD ? fcntl(result, F_SETFD, 0) < 0 : dup2(result, RESULT_FD) < 0)
		no_worker(result, errno);
	/* The host's descriptors are not for the worker, nor for the site's script. */
	if (close_range(RESULT_FD + 1, ~0U, 0) != 0)
		no_worker(RESULT_FD, errno);
	dup2(RESULT_FD, 2);
	close(0);
	close(1);
	if (open("/dev/null", O_RDWR) == 0)
		dup2(0, 1);
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
	for (long end = berth_now_ms() + ms; (n = poll(&p, 1, ms)) < 0 && errno == EINTR && ms > 0;)
		ms = end > berth_now_ms() ? (int)(end - berth_now_ms()) : 0;
	return n > 0;
}

/* Ends the worker and takes its status, or -1 where the host was quicker to
 * take it, as is its right. A pidfd cannot mean another process. */
static int end_worker(struct reader *r, pid_t pid, int pidfd, int patience)
{
	int status = -1, wait = 0;

	if (pidfd < 0) {
		/* Nothing bounds the wait for a process that hangs in the kernel: it is ours to
		 * end only while it is young, and its session is refused. */
		if (waitpid(pid, &status, WNOHANG) == 0)
			kill(pid, SIGKILL);
	} else if (!ends_within(pidfd, patience)) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		if (!ends_within(pidfd, UNTIL_DEAD_MS)) {
			/* It hangs in the kernel, as on a frozen file system. */
			berth_log(r->pamh, LOG_ERR, "the worker, process %d, does not die and is left behind", (int)pid);
			wait = WNOHANG;
		}
	}
	if (pidfd >= 0)
		close(pidfd);
	while (waitpid(pid, &status, wait) < 0 && errno == EINTR)
		;
	return status;
}

/* Takes back the signal of the worker's end, which this thread has blocked.
 * Signals do not queue: if it is another child's, or if another's end may have
 * gone under in it, it is sent again. */
static void hush(pid_t pid)
{
	static const struct timespec now = { 0, 0 };
	siginfo_t info, other = { .si_pid = 0 };
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (sigtimedwait(&chld, &info, &now) != SIGCHLD)
		return;
	if (info.si_pid != pid || (waitid(P_ALL, 0, &other, WEXITED | WNOHANG | WNOWAIT) == 0 && other.si_pid != 0))
		kill(getpid(), SIGCHLD);
}

static int start_and_read(struct reader *r, char **argv)
{
	int ends[2], pidfd = -1, reaped = 0, timely = 1, status = -1;
	sigset_t all, mask, quiet, pending;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		berth_log(r->pamh, LOG_ERR, "pipe: %m");
		return PAM_SYSTEM_ERR;
	}
	/* The host's handlers must not run in the child, nor for it. Whatever the host
	 * does about SIGCHLD stays in force: to change it, even for a moment, would
	 * lose it the ends of its own children, and its handler, too, where two
	 * threads did so at once. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &mask);
	sigpending(&pending);
	quiet = mask;
	sigaddset(&quiet, SIGCHLD);
	pid_t pid = fork();
	if (pid == 0)
		child(r, argv, ends[1]);
	int failure = errno;
	pthread_sigmask(SIG_SETMASK, &quiet, NULL);
	close(ends[1]);
	if (pid > 0) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		failure = errno;
		/* ESRCH: another thread of the host has reaped it. What it has answered counts. */
		reaped = pidfd < 0 && failure == ESRCH;
		if (pidfd >= 0 || reaped)
			timely = berth_answer(r, ends[0]);
		status = end_worker(r, pid, pidfd, timely ? UNTIL_KILL_MS : 0);
	}
	close(ends[0]);
	if (pid > 0 && !sigismember(&pending, SIGCHLD))
		hush(pid);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (pid < 0) {
		errno = failure;
		berth_log(r->pamh, LOG_ERR, "fork: %m");
		return PAM_SYSTEM_ERR;
	}
	if (pid > 0 && pidfd < 0 && !reaped) {
		errno = failure;
		berth_log(r->pamh, LOG_ERR, "pidfd_open(2): %m%s", berth_floor(failure));
		return PAM_SYSTEM_ERR;
	}
	if (r->result >= 0)
		return r->result;
	berth_answer_rest(r);
	if (!timely)
		berth_log(r->pamh, LOG_ERR, "the worker was not done after %d s and was killed", r->o->timeout);
	else if (status != -1 && WIFSIGNALED(status))
		berth_log(r->pamh, LOG_ERR, "the worker %s ended without a result: signal %d", r->self, WTERMSIG(status));
	else
		berth_log(r->pamh, LOG_ERR, "the worker %s ended without a result: status %d", r->self, status == -1 ? -1 : WEXITSTATUS(status));
	return PAM_SESSION_ERR;
}

/* A task's arguments, NULL at the end. */
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

static void add_user(struct arguments *a, const char *task, const struct passwd *pw)
{
	add(a, "pam_berth");
	add(a, "%s", task);
	add(a, "user=%s", pw->pw_name);
	add(a, "uid=%lu", (unsigned long)pw->pw_uid);
	add(a, "gid=%lu", (unsigned long)pw->pw_gid);
	add(a, "home=%s", pw->pw_dir);
}

#define MOST_GROUPS 256

/* Those that do not fit are the user's loss: she is never given more. */
static int groups_of(const struct passwd *pw, gid_t *groups)
{
	int n = MOST_GROUPS;
	return getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0 ? MOST_GROUPS : n;
}

/* Her groups, by which she may reach her home. */
static void add_groups(struct arguments *a, const struct passwd *pw)
{
	gid_t groups[MOST_GROUPS];
	char text[MOST_GROUPS * 11], *at = text;
	int n = groups_of(pw, groups);
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
		berth_log(r->pamh, LOG_ERR, "the module does not know its own path");
	} else {
		r->self = self.dli_fname;
		if (!r->end)
			r->end = berth_now_ms() + r->o->timeout * 1000L;
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
	add_user(&a, TASK_HOME, pw);
	add_groups(&a, pw);
	for (int i = 0; i < BERTH_PASSED; i++)
		if (o->passed[i])
			add(&a, "%s", o->passed[i]);
	int result = run(&r, &a);
	/* A worker that came to a result has told her why. */
	if (result != PAM_SUCCESS && !(r.told && r.result >= 0) && !o->silent)
		berth_tell(pamh, PAM_ERROR_MSG, "Your home directory could not be prepared; please tell the administrator.");
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
	add_user(&a, TASK_EXEC, pw);
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

int berth_names(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o)
{
	struct reader r = { .pamh = pamh, .o = o, .result = -1 };
	gid_t groups[MOST_GROUPS];
	int n = groups_of(pw, groups);
	struct arguments a = { .n = 0 };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; out && i < n; i++) {
		const struct group *g = pam_modutil_getgrgid(pamh, groups[i]);
		if (g)
			fprintf(out, "%lu:%s\n", (unsigned long)g->gr_gid, g->gr_name);
	}
	if (!out || fclose(out) != 0)
		a.failed = 1;
	add_user(&a, TASK_NAMES, pw);
	add(&a, "gecos=%s", pw->pw_gecos ? pw->pw_gecos : "");
	add(&a, "shell=%s", pw->pw_shell ? pw->pw_shell : "");
	add(&a, "names=%s", a.failed ? "" : text);
	free(text);
	return run(&r, &a);
}

int berth_prepare(pam_handle_t *pamh, uid_t uid, const struct berth_options *o, long end)
{
	struct reader r = { .pamh = pamh, .o = o, .result = -1, .end = end };
	struct arguments a = { .n = 0 };
	long left = end - berth_now_ms();
	add(&a, "pam_berth");
	add(&a, "%s", TASK_PREPARE);
	add(&a, "exec=%s", BERTH_PROGRAM);
	add(&a, "uid=%lu", (unsigned long)uid);
	add(&a, "milliseconds=%ld", left > 0 ? left : 1);
	return run(&r, &a);
}
