// SPDX-License-Identifier: Apache-2.0
//
// The habits that a host may have.
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER_ID 4711

static void on_child(int sig)
{
	int status, was = errno;
	pid_t pid;
	(void)sig;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		bury(pid, status);
	errno = was;
}

static void *steal(void *arg)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		if (pid > 0)
			bury(pid, status);
		else
			usleep(1000); /* nothing tells that there is a child again */
	}
	return arg;
}

static void *work(void *arg)
{
	for (unsigned i = 0;; i++) {
		void *p = malloc(i % 5000);
		fprintf(arg, "%p %u\n", p, i);
		free(p);
	}
	return arg;
}

static void thread(void *(*run)(void *), void *arg)
{
	pthread_t t;
	must(errno = pthread_create(&t, NULL, run, arg));
}

static void *nothing(void *arg) { return arg; }

/* Once, before anybody looks: glibc takes two signals for itself then. */
void threads_begin(void)
{
	pthread_t t;
	must(errno = pthread_create(&t, NULL, nothing, NULL));
	pthread_join(t, NULL);
}

static void action(void (*handler)(int), int flags)
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = flags };
	sigaction(SIGCHLD, &a, NULL);
}

void limit(int which, rlim_t to)
{
	struct rlimit l;
	must(getrlimit(which, &l));
	l.rlim_cur = to;
	if (oddity.hard)
		l.rlim_max = to;
	must(setrlimit(which, &l));
}

static void block_all(void)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void without_proc(void)
{
	free(snapshot()); /* opens its /proc */
	while (umount2("/proc", MNT_DETACH) == 0)
		;
	must(access("/proc/self", F_OK) == 0);
}

static void without_cwd(void)
{
	char dir[] = "/tmp/odd.XXXXXX";
	must(!mkdtemp(dir) || chdir(dir) != 0 || rmdir(dir) != 0);
}

static void work_beside(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	FILE *file = fdopen(fcntl(null, F_DUPFD_CLOEXEC, 20), "w");
	close(null);
	thread(work, file);
	thread(work, file);
}

/* Traits without a value. */
static void steal_children(void) { oddity.buried_by_others = 1, thread(steal, NULL); }
static void come_in_a_crowd(void) { oddity.crowd = 1; }
static void ignore_children(void) { action(SIG_IGN, 0); }
static void want_no_zombies(void) { action(SIG_DFL, SA_NOCLDWAIT); }
static void bury_in_handler(void) { oddity.buried_by_others = 1, action(on_child, SA_RESTART); }
static void have_news_pending(void) { oddity.pending = 1; }
static void bury_first(void) { oddity.first_buried = 1; }
static void lose_child(void) { during = let_die; }
static void mean_it(void) { oddity.hard = 1; }
static void be_alone(void) { limit(RLIMIT_NPROC, 1); }
static void have_200_MB(void) { limit(RLIMIT_AS, 200 << 20); }
static void write_no_files(void) { limit(RLIMIT_FSIZE, 0); }
static void be_called_by_user(void) { must(setreuid(USER_ID, 0)); }
static void have_users_gid(void) { must(setregid(USER_ID, USER_ID)); }
static void have_users_egid(void) { must(setresgid(0, USER_ID, 0)); }
static void close_stdio(void) { close(0), close(1), close(2); }
static void close_stderr(void) { close(2); }
static void fork_before(void) { oddity.fork_at = BEFORE_START; }
static void fork_started(void) { oddity.fork_at = STARTED; }
static void fork_opened(void) { oddity.fork_at = OPENED; }
static void fork_closed(void) { oddity.fork_at = CLOSED; }

void take_on(const char *trait)
{
	static const struct { const char *name; void (*take)(void); } traits[] = {
		{ "fork-before-start", fork_before }, { "fork-started", fork_started }, { "fork-opened", fork_opened }, { "fork-closed", fork_closed },
		{ "threads", work_beside }, { "thief", steal_children }, { "crowd", come_in_a_crowd },
		{ "ignore", ignore_children }, { "nocldwait", want_no_zombies }, { "handler", bury_in_handler },
		{ "blocked", block_all }, { "pending", have_news_pending }, { "buried", bury_first }, { "loses-child", lose_child },
		{ "hard", mean_it }, { "nproc", be_alone }, { "as", have_200_MB }, { "fsize", write_no_files },
		{ "ruid", be_called_by_user }, { "gid", have_users_gid }, { "egid", have_users_egid },
		{ "noproc", without_proc }, { "nostdio", close_stdio }, { "nostderr", close_stderr }, { "nocwd", without_cwd },
	};
	for (size_t i = 0; i < sizeof traits / sizeof *traits; i++)
		if (!strcmp(trait, traits[i].name)) {
			traits[i].take();
			return;
		}
	if (!strncmp(trait, "nofile=", 7))
		oddity.free_files = atoi(trait + 7);
	else if (!strncmp(trait, "umask=", 6))
		umask((mode_t)strtol(trait + 6, NULL, 8));
	else if (strchr(trait, '='))
		putenv(strdup(trait));
	else
		must(errno = EINVAL);
}
