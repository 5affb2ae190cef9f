// SPDX-License-Identifier: Apache-2.0
//
// Hosts with habits: host CONFDIR SERVICE USER odd TRAIT... takes the traits on
// in their order (traits.c), opens and closes a session, and reports what that
// has changed. The host has two children, of which one is dead, and buries both.
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define CROWD 8
#define FILES 8

struct oddity oddity = { .free_files = -1 };

static char **who; /* CONFDIR SERVICE USER */

/* The children, and a post for each that somebody else has buried. */
static struct { pid_t pid; int status; } children[2];
static int leash[2] = { -1, -1 }; /* their inputs: a byte or the end, and they end */
static sem_t buried;

void must(int result)
{
	if (result != 0) {
		fprintf(report, "the host cannot be as odd as that: %s\n", strerror(errno));
		exit(2);
	}
}

void bury(pid_t pid, int status)
{
	for (int i = 0; i < 2; i++)
		if (children[i].pid == pid) {
			children[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : -2;
			sem_post(&buried);
		}
}

static void have_children(void)
{
	sigset_t chld, all, mask;
	int status;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &mask); /* a handler is the host's, not theirs */
	for (int i = 0; i < 2; i++) {
		int ends[2];
		char c;
		must(pipe2(ends, O_CLOEXEC));
		children[i].status = -1;
		children[i].pid = fork();
		if (children[i].pid == 0) {
			close(ends[1]);
			close(leash[0]);
			_exit(read(ends[0], &c, 1) < 0 ? 1 : 5 + 2 * i);
		}
		leash[i] = fcntl(ends[1], F_DUPFD_CLOEXEC, 20);
		close(ends[0]);
		close(ends[1]);
	}
	close(leash[0]);
	await_death(0);
	if (oddity.first_buried) {
		waitpid(children[0].pid, &status, 0);
		bury(children[0].pid, status);
	}
	if (sigismember(&mask, SIGCHLD) && !oddity.pending) /* it is no news any more */
		sigtimedwait(&chld, NULL, &(struct timespec){ 0, 0 });
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

void await_death(int i)
{
	siginfo_t info;
	while (waitid(P_PID, (id_t)children[i].pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
}

void let_die(void)
{
	must(write(leash[1], "", 1) != 1);
	await_death(1);
	during = NULL;
}

static void bury_children(void)
{
	struct timespec end;
	int left = 0, status;

	close(leash[1]);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 10;
	for (int i = 0; i < 2; i++)
		if (oddity.buried_by_others)
			while (sem_timedwait(&buried, &end) < 0 && errno == EINTR)
				;
		else if ((i > 0 || !oddity.first_buried) && waitpid(children[i].pid, &status, 0) == children[i].pid)
			bury(children[i].pid, status);
	while (waitpid(-1, NULL, WNOHANG | __WALL) >= 0)
		left++;
	fprintf(report, "children %d %d left %d\n", children[0].status, children[1].status, left);
}

/* Leaves as many descriptors as the module may have. */
static void starve(void)
{
	if (oddity.free_files < 0)
		return;
	free(snapshot()); /* has its descriptors from now on */
	limit(RLIMIT_NOFILE, FILES);
	while (open("/dev/null", O_RDWR | O_CLOEXEC) >= 0)
		;
	for (int fd = FILES - oddity.free_files; fd < FILES; fd++)
		close(fd);
}

static int watched(const char *what, int (*call)(pam_handle_t *, int), pam_handle_t *pamh)
{
	char *before = snapshot();
	int result = call(pamh, 0);
	char *after = snapshot();
	compare(what, before, after);
	free(before);
	free(after);
	return result;
}

static void *one_of_many(void *arg)
{
	pam_handle_t *pamh;
	int *result = arg;
	*result = pam_start_confdir(who[2], who[3], &conversation, who[1], &pamh);
	if (*result == PAM_SUCCESS)
		*result = pam_open_session(pamh, 0);
	if (*result == PAM_SUCCESS)
		*result = pam_close_session(pamh, 0);
	pam_end(pamh, PAM_SUCCESS);
	return NULL;
}

/* In the place of an open: many threads open and close, each a session. */
static int open_many(pam_handle_t *pamh, int flags)
{
	pthread_t threads[CROWD];
	int results[CROWD], worst = PAM_SUCCESS;
	(void)pamh, (void)flags;
	for (int i = 0; i < CROWD; i++)
		must(errno = pthread_create(&threads[i], NULL, one_of_many, &results[i]));
	for (int i = 0; i < CROWD; i++) {
		pthread_join(threads[i], NULL);
		worst = results[i] ? results[i] : worst;
	}
	return worst;
}

/* A fork's parent waits while the child goes on, and then has no session. */
static int split(enum moment now)
{
	int status = 0;
	if (now != oddity.fork_at)
		return 0;
	oddity.fork_at = NEVER;
	fflush(report);
	pid_t pid = fork();
	if (pid == 0)
		return 0;
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		fprintf(report, "the fork ended by signal %d\n", WTERMSIG(status));
	return 1;
}

static void session(void)
{
	pam_handle_t *pamh = NULL;
	int again;

	int rc = pam_start_confdir(who[2], who[3], &conversation, who[1], &pamh);
	if (rc != PAM_SUCCESS)
		fprintf(report, "start %d\n", rc);
	if (rc != PAM_SUCCESS || split(STARTED))
		return;
	starve();
	do {
		int opened = watched("open", oddity.crowd ? open_many : pam_open_session, pamh);
		if (split(OPENED))
			return;
		int closed = watched("close", pam_close_session, pamh);
		fprintf(report, "open %d close %d%s\n", opened, closed, differs ? "" : " unchanged");
		again = oddity.fork_at == CLOSED;
	} while (again && !split(CLOSED));
	pam_end(pamh, PAM_SUCCESS);
}

int odd(char **argv)
{
	who = argv;
	sem_init(&buried, 0, 0);

	report = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 21), "w");
	/* As sshd and others do; else libpam does it. Not on 3: with no standard
	 * error that is the write end of the module's pipe. */
	int three = open("/dev/null", O_RDWR);
	openlog("host", LOG_NDELAY, LOG_AUTHPRIV);
	close(three);
	threads_begin();
	for (argv += 5; *argv; argv++)
		take_on(*argv);
	if (!split(BEFORE_START)) {
		have_children();
		pid_t mother = getpid();
		session();
		if (getpid() == mother)
			bury_children();
	}
	fclose(report);
	_exit(0); /* whatever the threads do */
}
