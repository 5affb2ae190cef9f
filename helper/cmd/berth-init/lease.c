// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// The container ends when nobody has used it for the time of the rule idle. In use is
// what has a session, and what somebody on the host has leased: they hold a lock
// (flock(2), LOCK_SH) on the lease, a file in the shared directory, for as long as they
// want the container to be there, and set its mtime when they take it. A lock holds
// whatever becomes of us: execve(2), a restart of the container. A connection does not.
//
// Nobody is lost at the end. A caller waits in the socket's queue, is held by the server,
// which ends no earlier than its last caller's supervisor has connected to us, or is a
// session: each is looked for, and then, when the socket refuses callers, the queue once
// more.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between two looks: a quarter of idle, within these. Whoever wants the lock meets ours
 * for a moment at each. */
#define MIN_LOOK_MS 100
#define MAX_LOOK_MS 5000

static long last_use;         /* by now_ms */
static struct timespec taken; /* the lease's mtime at the last look */
static long next_look;
static int complained;        /* about what stands in the lease's place */

void lease_open(void)
{
	last_use = now_ms();
}

void lease_used(void)
{
	last_use = now_ms();
}

int lease_format(char *text, size_t size)
{
	return snprintf(text, size, "lease %ld %lld %ld", last_use, (long long)taken.tv_sec, taken.tv_nsec);
}

void lease_parse(const char *text)
{
	long use, nsec;
	long long sec;

	if (sscanf(text, "lease %ld %lld %ld", &use, &sec, &nsec) == 3) {
		last_use = use;
		taken = (struct timespec){ .tv_sec = sec, .tv_nsec = nsec };
	}
}

/* Returns the lease, made if it is not there, or -1: there is something else. */
static int open_lease(struct stat *st)
{
	int fd = open(LEASE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	const char *problem = NULL;

	if (fd < 0 || fstat(fd, st) != 0)
		problem = strerror(errno);
	else if (!S_ISREG(st->st_mode) || st->st_uid != 0 || st->st_mode & 022)
		problem = "it is not a file that root alone can write";
	if (problem && !complained)
		logf_uid(UID_NONE, "%s: %s; the container does not end while it is so", LEASE, problem);
	complained = problem != NULL;
	if (problem && fd >= 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int is_called(void)
{
	return caller_waits(keeper.session_listener) || caller_waits(keeper.register_listener) || caller_waits(keeper.control_listener);
}

/* Refuses callers from now on. Returns whether one had come before that: it is let go, and
 * finds a new socket (package direct tries again where nobody has said a word). */
static int close_socket(void)
{
	int caller, called = 0;

	if (keeper.session_listener < 0)
		return 0;
	unwatch(keeper.session_listener);
	shutdown(keeper.session_listener, SHUT_RDWR);
	while ((caller = accept4(keeper.session_listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		close(caller);
		called = 1;
	}
	return called;
}

static void open_socket(void)
{
	close(keeper.session_listener);
	keeper.session_listener = listen_at(SOCKET, SOCK_STREAM, 0666);
	if (keeper.session_listener < 0)
		exit(1); /* the engine starts the container anew */
	servers_start_missing();
}

static void look(long now)
{
	struct stat st;
	int lease = open_lease(&st);

	if (lease < 0) {
		last_use = now;
		return;
	}
	int locked = flock(lease, LOCK_EX | LOCK_NB) == 0;
	/* Who had the lock a moment ago has set the time. */
	if (fstat(lease, &st) != 0 || !locked || is_called() || st.st_mtim.tv_sec != taken.tv_sec || st.st_mtim.tv_nsec != taken.tv_nsec) {
		taken = st.st_mtim;
		last_use = now;
	} else if (now - last_use >= rules.idle_ms) {
		if (!close_socket()) {
			logf_uid(UID_NONE, "nobody has used the container for %ld s: it ends", rules.idle_ms / 1000);
			log_report_dropped();
			exit(0); /* with the lock */
		}
		last_use = now;
		open_socket();
	}
	close(lease);
}

void lease_tick(long now, long *next)
{
	if (!rules.idle_ms || keeper.stop_at || keeper.active.pid || sessions_used)
		return;
	if (next_look <= now) {
		long pause = rules.idle_ms / 4;
		look(now);
		next_look = now + (pause < MIN_LOOK_MS ? MIN_LOOK_MS : pause > MAX_LOOK_MS ? MAX_LOOK_MS : pause);
	}
	set_earlier(next, next_look);
}
