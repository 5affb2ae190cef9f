// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init, the container's first process. As: container root.
//
// What the keeper starts to serve callers: a spawner and two servers, of which one stands
// by; or, on demand, a spawner and a server when a caller is there, until none has come
// for a while. A container for one user serves on demand: idle, it is the keeper alone.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between two starts of what dies at once, or does not start. */
#define RESTART_MS 500

/* Starts berth-guest with one argument. Its descriptors are /dev/null as 0 and 1, our
 * stderr, and fds[] from 3 on; no other is open. Returns its pid, or -1. */
static pid_t start_guest(const char *role, const int *fds, int n)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), moved[4];

	sigemptyset(&none);
	/* First to 16 and above, so that dup2 overwrites none that is still needed. */
	for (int i = 0; i < n; i++)
		moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
	for (int i = 0; i < n; i++)
		if (moved[i] < 0 || dup2(moved[i], 3 + i) < 0)
			_exit(126);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || close_range((unsigned)(3 + n), ~0U, 0) != 0)
		_exit(126);
	setrlimit(RLIMIT_NOFILE, &keeper.nofile_limit);
	signal(SIGPIPE, SIG_DFL);
	setpriority(PRIO_PROCESS, 0, 0); /* `berth settle` has raised ours */
	sigprocmask(SIG_SETMASK, &none, NULL);
	char *argv[] = { (char[]){ GUEST }, strdup(role), NULL };
	char *none_at_all[] = { NULL };
	execve(GUEST, argv, none_at_all);
	_exit(127);
}

/* Leaves the mark that `berth settle` is due: what root of the host set for the last
 * processes (oom_score_adj, the bound of the terminals) is not set for these. */
void mark_unsettled(void)
{
	int fd = open(UNSETTLED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		logf_uid(UID_NONE, "%s: %s", UNSETTLED, strerror(errno));
	else
		close(fd);
}

static int start_spawner(void)
{
	int ends[2];

	/* Both servers have the other end. A message is read whole, by one of them. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	pid_t pid = start_guest("spawner", &ends[1], 1);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -1;
	}
	keeper.spawner = pid;
	keeper.spawner_started = now_ms();
	keeper.spawner_fd = ends[0];
	if (!rules.on_demand) /* else the keeper's score is the sessions', and nothing is due */
		mark_unsettled();
	return 0;
}

static int start_server(struct server *s)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	int fds[] = { keeper.session_listener, ends[0], keeper.spawner_fd };
	pid_t pid = start_guest("server", fds, 3);
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return -1;
	}
	*s = (struct server){ .pid = pid, .start_fd = ends[1], .started = now_ms() };
	return 0;
}

static void activate(struct server *s)
{
	if (s->start_fd < 0)
		return;
	/* What it is told: package server, serve. */
	if (write(s->start_fd, rules.on_demand ? "d" : "s", 1) != 1)
		logf_uid(UID_NONE, "could not tell the server %d to serve: %s", (int)s->pid, strerror(errno));
	close(s->start_fd);
	s->start_fd = -1;
}

static void log_not_started(const char *what)
{
	logf_uid(0, "%s does not start: %s; will try again", what, strerror(errno));
	keeper.restart_at = now_ms() + RESTART_MS;
}

static void clear_server(struct server *s)
{
	if (s->start_fd >= 0)
		close(s->start_fd);
	*s = (struct server){ .start_fd = -1 };
}

/* A spawner ends when nobody can ask it any more. */
static void leave_spawner(void)
{
	if (keeper.spawner_fd >= 0)
		close(keeper.spawner_fd);
	keeper.spawner_fd = -1;
	keeper.spawner = 0;
}

int caller_waits(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	return listener >= 0 && poll(&p, 1, 0) > 0;
}

/* Starts a server if a caller waits, or sees to it that the next one is noticed. */
static void start_on_demand(void)
{
	if (keeper.active.pid)
		return;
	if (!caller_waits(keeper.session_listener)) {
		if (watch_fd(keeper.session_listener, EPOLLIN, SOURCE_CALLERS, 0) != 0 && errno != EEXIST)
			log_not_started("the watch for callers");
	} else if (start_spawner() != 0) {
		log_not_started("the spawner");
	} else if (start_server(&keeper.active) != 0) {
		log_not_started("the server");
		leave_spawner();
	} else {
		activate(&keeper.active);
	}
}

void servers_caller(void)
{
	unwatch(keeper.session_listener);
	servers_start_missing();
}

void servers_start_missing(void)
{
	keeper.restart_at = 0;
	if (!keeper.serving)
		return;
	if (rules.on_demand) {
		start_on_demand();
		return;
	}
	if (!keeper.spawner) {
		keeper_renew();
		return;
	}
	if (!keeper.active.pid) {
		if (start_server(&keeper.active) != 0) {
			log_not_started("the server");
			return;
		}
		activate(&keeper.active);
	}
	if (!keeper.standby.pid && start_server(&keeper.standby) != 0)
		log_not_started("the server that stands by");
}

/* A program that ends as soon as it is started is started again after a pause. */
static void server_exit(pid_t pid, int status)
{
	struct server *s = pid == keeper.active.pid ? &keeper.active : &keeper.standby;
	const char *what = s == &keeper.active ? "the server" : "the server that stands by";
	long lived = now_ms() - s->started;

	if (!rules.on_demand || status != 0)
		logf_uid(0, "%s ended (status %d, signal %d); the sessions go on", what,
			 WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	clear_server(s);
	if (rules.on_demand)
		leave_spawner();
	if (lived < RESTART_MS)
		keeper.restart_at = now_ms() + 4 * RESTART_MS;
	if (!keeper.active.pid && keeper.standby.pid) {
		keeper.active = keeper.standby;
		keeper.standby = (struct server){ .start_fd = -1 };
		activate(&keeper.active);
	}
	if (!keeper.restart_at)
		servers_start_missing();
}

static void spawner_exit(void)
{
	keeper.spawner = 0;
	logf_uid(0, "the spawner ended; the sessions go on");
	if (rules.on_demand) {
		/* Another server follows with another spawner, if a caller waits. */
		if (keeper.active.pid)
			kill(keeper.active.pid, SIGTERM);
		return;
	}
	if (now_ms() - keeper.spawner_started < RESTART_MS) {
		keeper.restart_at = now_ms() + RESTART_MS; /* not in a circle */
		return;
	}
	/* The servers ask by a socket that led to it: they are replaced, too. */
	keeper_renew();
}

int servers_reaped(pid_t pid, int status)
{
	if (pid == keeper.active.pid || pid == keeper.standby.pid)
		server_exit(pid, status);
	else if (pid == keeper.spawner)
		spawner_exit();
	else
		return 0;
	return 1;
}

/* They are not needed any more. */
static void end_servers(struct server *servers, size_t n, pid_t spawner, int spawner_fd)
{
	for (size_t i = 0; i < n; i++) {
		if (servers[i].pid)
			kill(servers[i].pid, SIGTERM);
		clear_server(&servers[i]);
	}
	if (spawner)
		kill(spawner, SIGTERM);
	if (spawner_fd >= 0)
		close(spawner_fd);
}

void servers_stop(void)
{
	pid_t pids[] = { keeper.active.pid, keeper.standby.pid, keeper.spawner };

	keeper.serving = 0; /* what ends is not started again */
	keeper.restart_at = 0;
	for (size_t i = 0; i < LENGTH(pids); i++)
		if (pids[i])
			kill(pids[i], SIGTERM);
	if (keeper.session_listener >= 0)
		shutdown(keeper.session_listener, SHUT_RDWR);
}

const char *keeper_renew(void)
{
	struct server old[2] = { keeper.active, keeper.standby }, next[2] = { { .start_fd = -1 }, { .start_fd = -1 } };
	pid_t spawner = keeper.spawner;
	int fd = keeper.spawner_fd;

	if (!keeper.serving)
		return NULL;
	keeper.spawner_fd = -1;
	if (rules.on_demand) {
		keeper.active = keeper.standby = (struct server){ .start_fd = -1 };
		keeper.spawner = 0;
		end_servers(old, LENGTH(old), spawner, fd);
		servers_start_missing();
		return NULL;
	}
	/* The new ones first: where there is no room for them, the old ones go on. */
	if (start_spawner() != 0 || start_server(&next[0]) != 0 || start_server(&next[1]) != 0) {
		int failure = errno;
		for (size_t i = 0; i < LENGTH(next); i++) {
			if (next[i].pid)
				kill(next[i].pid, SIGKILL);
			clear_server(&next[i]);
		}
		if (keeper.spawner_fd >= 0) {
			kill(keeper.spawner, SIGKILL);
			close(keeper.spawner_fd);
		}
		keeper.spawner = spawner;
		keeper.spawner_fd = fd;
		errno = failure;
		log_not_started("the container's server, anew,");
		return strerror(failure);
	}
	keeper.active = next[0];
	keeper.standby = next[1];
	activate(&keeper.active);
	end_servers(old, LENGTH(old), spawner, fd);
	return NULL;
}

