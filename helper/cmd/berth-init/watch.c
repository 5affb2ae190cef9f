// SPDX-License-Identifier: Apache-2.0
//
// Process: what berth-guest session becomes when the user's program runs. As: the
// user. Nobody but root may read the file of this program, so the kernel lets no other
// process of the user's into this one (execve(2), ptrace(2)).
//
//	berth-init watch PID LINGER LIFELINE KEEPER [SECONDS [AGENT]]
//
// LINGER is 1 if what is left may stay, until so many SECONDS after the session's end, or
// for ever (SECONDS is 0 then, or not there). LIFELINE and KEEPER are descriptors. When the keeper
// says anything, nothing may stay. AGENT is the path of a socket that goes with the session,
// with its directory.
//
// It has one thread and a few pages, for as long as the session lasts. When something
// is left at the session's end, it becomes `berth-guest terminate`, which ends that.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long children may take that end together with the program, before they count
 * as left over. */
#define SETTLE_MS 1

static pid_t program;
static int lifeline, keeper_fd;
static char *agent; /* NULL: none */

/* An Exit frame (package lifeline). */
static void send_exit(int status)
{
	char frame[64], code[24], sig[24];

	snprintf(code, sizeof code, "status=%d", WIFEXITED(status) ? WEXITSTATUS(status) : 0);
	snprintf(sig, sizeof sig, "signal=%d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	size_t n = frame_make(frame, sizeof frame, 'X', 2, (const char *const[]){ code, sig });
	if (send(lifeline, frame, n, MSG_NOSIGNAL) < 0)
		return; /* there is nobody to tell */
}

/* The session is over: nobody serves the agent's socket any more. */
static void close_lifeline(void)
{
	if (lifeline >= 0)
		close(lifeline);
	lifeline = -1;
	if (!agent)
		return;
	unlink(agent);
	*strrchr(agent, '/') = 0;
	rmdir(agent);
	agent = NULL;
}

/* Waits for children that have ended. Returns 0 when there is none any more. */
static int reap_children(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == program) {
			send_exit(status);
			close_lifeline();
			program = 0;
		}
	return pid == 0;
}

/* Obeys what came on the lifeline: a Signal frame is 'G', the length 1, a number.
 * Anything else, or nothing more, is the session's end. */
static int read_signal(void)
{
	static unsigned char frame[6];
	static size_t have;
	ssize_t n = recv(lifeline, frame + have, sizeof frame - have, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n <= 0)
		return 0;
	have += (size_t)n;
	if (have < sizeof frame)
		return 1;
	have = 0;
	if (memcmp(frame, "G\0\0\0\1", 5) != 0)
		return 0;
	kill(-program, frame[5]);
	return 1;
}

__attribute__((noreturn)) static void terminate_rest(void)
{
	char *argv[] = { (char[]){ GUEST }, (char[]){ "terminate" }, NULL }, *none[] = { NULL };
	sigset_t set;

	close_lifeline();
	/* It expects the keeper's connection as descriptor 3. All else is closed. */
	if (dup2(keeper_fd, 3) != 3 || close_range(4, ~0U, 0) != 0)
		_exit(1);
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	execve(GUEST, argv, none);
	_exit(1); /* the keeper ends what is left */
}

__attribute__((noreturn)) static void exit_done(void)
{
	send(keeper_fd, "done", 4, MSG_NOSIGNAL | MSG_DONTWAIT);
	_exit(0);
}

/* For poll(2). until is 0 if there is none. */
static int ms_left(long until)
{
	long left = until - now_ms();

	return !until ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Whether the keeper wants the session's end. It closes its end when it is done with us. */
static int is_told(struct pollfd *keeper)
{
	char text[16];

	if (!keeper->revents)
		return 0;
	ssize_t n = recv(keeper_fd, text, sizeof text, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		keeper->fd = -1;
	return n > 0;
}

int watch_main(int argc, char **argv)
{
	struct signalfd_siginfo info;
	struct pollfd polled[3];
	sigset_t signals;
	int linger, hung_up = 0;
	long seconds, until = 0; /* when what lingers is to end */

	if (argc < 6 || argc > 8 || (program = atoi(argv[2])) < 2 || (lifeline = atoi(argv[4])) < 3 || (keeper_fd = atoi(argv[5])) < 3)
		return 2;
	linger = !strcmp(argv[3], "1");
	seconds = argc >= 7 ? atol(argv[6]) : 0;
	agent = argc == 8 && argv[7][0] == '/' ? argv[7] : NULL;
	prctl(PR_SET_DUMPABLE, 0);
	sigfillset(&signals);
	sigprocmask(SIG_SETMASK, &signals, NULL);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	polled[0] = (struct pollfd){ .fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), .events = POLLIN };
	if (polled[0].fd < 0)
		return 1;
	polled[2] = (struct pollfd){ .fd = keeper_fd, .events = POLLIN };
	for (;;) {
		if (!reap_children())
			exit_done();
		if ((!program || hung_up) && linger && seconds && !until)
			until = now_ms() + seconds * 1000;
		if (until && ms_left(until) == 0)
			terminate_rest();
		if (!program && !hung_up && !linger) {
			/* It has ended, and what it left may be ending, too. */
			poll(polled, 1, SETTLE_MS);
			if (!reap_children())
				exit_done();
			terminate_rest();
		}
		if (hung_up && !linger)
			terminate_rest();
		polled[1] = (struct pollfd){ .fd = lifeline, .events = POLLIN };
		if (poll(polled, LENGTH(polled), ms_left(until)) <= 0)
			continue;
		if (is_told(&polled[2]))
			terminate_rest();
		if (polled[0].revents)
			while (read(polled[0].fd, &info, sizeof info) == sizeof info)
				;
		if (lifeline >= 0 && polled[1].revents && !read_signal()) {
			/* As the kernel does to a session whose terminal went away. */
			if (program) {
				kill(-program, SIGHUP);
				kill(-program, SIGCONT);
			}
			close_lifeline();
			hung_up = 1;
		}
	}
}
