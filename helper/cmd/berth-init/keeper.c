// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init, the container's first process. As: container root, with
// the capabilities SETUID, SETGID and KILL.
//
//	berth-init                  the keeper; all that loses its parent becomes its child
//	├─ berth-guest server       asks the kernel who calls; may die at any time
//	├─ berth-guest server       stands by, and serves when the first has died
//	└─ berth-guest spawner      starts supervisors
//	    └─ berth-guest session  waits for a session, becomes the user, and then, when the
//	                            program runs, becomes berth-init watch
//
// It has one thread, tables of a fixed size, and every file that open sessions need
// is open: it goes on when the container is out of processes or descriptors, and
// execve(2) replaces it by a newer one without a new process or thread.

#define _GNU_SOURCE
#include "init.h"

#include "built.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between two starts of what dies at once, or does not start. */
#define RESTART_MS 500
/* How long sessions may take to end when the container is stopped: they are asked,
 * told, then killed within 2 s (package guest). The engine waits for 5 (package
 * engine). */
#define STOP_MS 4000

struct keeper keeper = { .listener = -1, .control = -1, .registers = -1, .spawner_fd = -1, .active.start = -1, .standby.start = -1 };
static int epoll = -1, signals = -1;

int watch_fd(int fd, uint32_t events, enum kind kind, size_t index)
{
	struct epoll_event e = { .events = events, .data.u64 = (uint64_t)kind << 32 | index };
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

void unwatch(int fd)
{
	epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* Starts berth-guest with one argument. Its descriptors are /dev/null as 0 and 1, our
 * stderr, and given[] from 3 on; no other is open. Returns its pid, or -1. */
static pid_t start(const char *role, const int *given, int n)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), moved[4];

	sigemptyset(&none);
	/* First to 16 and above, so that dup2 overwrites none that is still needed. */
	for (int i = 0; i < n; i++)
		moved[i] = fcntl(given[i], F_DUPFD_CLOEXEC, 16);
	for (int i = 0; i < n; i++)
		if (moved[i] < 0 || dup2(moved[i], 3 + i) < 0)
			_exit(126);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || close_range((unsigned)(3 + n), ~0U, 0) != 0)
		_exit(126);
	setrlimit(RLIMIT_NOFILE, &keeper.files);
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
static void unsettled(void)
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
	pid_t pid = start("spawner", &ends[1], 1);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -1;
	}
	keeper.spawner = pid;
	keeper.spawned = now_ms();
	keeper.spawner_fd = ends[0];
	unsettled();
	return 0;
}

static int start_server(struct server *s)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	int given[] = { keeper.listener, ends[0], keeper.spawner_fd };
	pid_t pid = start("server", given, 3);
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return -1;
	}
	*s = (struct server){ .pid = pid, .start = ends[1], .since = now_ms() };
	return 0;
}

static void activate(struct server *s)
{
	if (s->start < 0)
		return;
	if (write(s->start, "", 1) != 1)
		logf_uid(UID_NONE, "the server %d is not told to serve: %s", (int)s->pid, strerror(errno));
	close(s->start);
	s->start = -1;
}

static void lacks(const char *what)
{
	logf_uid(0, "%s does not start: %s; tried again", what, strerror(errno));
	keeper.restart = now_ms() + RESTART_MS;
}

/* Starts what should run and does not. If there is no room now, it is tried again. */
static void restore(void)
{
	keeper.restart = 0;
	if (!keeper.serving)
		return;
	if (!keeper.spawner) {
		keeper_renew();
		return;
	}
	if (!keeper.active.pid) {
		if (start_server(&keeper.active) != 0) {
			lacks("the server");
			return;
		}
		activate(&keeper.active);
	}
	if (!keeper.standby.pid && start_server(&keeper.standby) != 0)
		lacks("the server that stands by");
}

static void forget(struct server *s)
{
	if (s->start >= 0)
		close(s->start);
	*s = (struct server){ .start = -1 };
}

/* A program that ends as soon as it is started is started again after a pause. */
static void died(pid_t pid, int status)
{
	struct server *s = pid == keeper.active.pid ? &keeper.active : &keeper.standby;
	const char *what = s == &keeper.active ? "the server" : "the server that stands by";
	long lived = now_ms() - s->since;

	logf_uid(0, "%s ended (status %d, signal %d); the sessions go on", what,
		 WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	forget(s);
	if (lived < RESTART_MS)
		keeper.restart = now_ms() + 4 * RESTART_MS;
	if (!keeper.active.pid && keeper.standby.pid) {
		keeper.active = keeper.standby;
		keeper.standby = (struct server){ .start = -1 };
		activate(&keeper.active);
	}
	if (!keeper.restart)
		restore();
}

static void reap(void)
{
	int status;

	for (;;) {
		siginfo_t ended = { .si_pid = 0 };
		/* Left as it is at first: so long its pid is its own. */
		if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || !ended.si_pid)
			break;
		pid_t pid = ended.si_pid;
		if (ended.si_uid != 0 && !sweep_is(pid))
			session_orphan_ended(pid, ended.si_uid);
		if (waitpid(pid, &status, WNOHANG) != pid)
			break;
		if (pid == keeper.active.pid || pid == keeper.standby.pid) {
			died(pid, status);
		} else if (pid == keeper.spawner) {
			keeper.spawner = 0;
			logf_uid(0, "what starts supervisors ended; the sessions go on");
			if (now_ms() - keeper.spawned < RESTART_MS) {
				keeper.restart = now_ms() + RESTART_MS; /* not in a circle */
				continue;
			}
			/* The servers ask by a socket that led to it: they are replaced, too. */
			keeper_renew();
		} else {
			sweep_reaped(pid, status);
		}
	}
}

const char *keeper_renew(void)
{
	struct server old[2] = { keeper.active, keeper.standby }, next[2] = { { .start = -1 }, { .start = -1 } };
	pid_t spawner = keeper.spawner;
	int fd = keeper.spawner_fd;

	if (!keeper.serving)
		return NULL;
	/* The new ones first: where there is no room for them, the old ones go on. */
	keeper.spawner_fd = -1;
	if (start_spawner() != 0 || start_server(&next[0]) != 0 || start_server(&next[1]) != 0) {
		int failure = errno;
		for (size_t i = 0; i < LENGTH(next); i++) {
			if (next[i].pid)
				kill(next[i].pid, SIGKILL);
			forget(&next[i]);
		}
		if (keeper.spawner_fd >= 0) {
			kill(keeper.spawner, SIGKILL);
			close(keeper.spawner_fd);
		}
		keeper.spawner = spawner;
		keeper.spawner_fd = fd;
		errno = failure;
		lacks("the container's server, anew,");
		return strerror(failure);
	}
	keeper.active = next[0];
	keeper.standby = next[1];
	activate(&keeper.active);
	for (size_t i = 0; i < LENGTH(old); i++) {
		if (old[i].pid)
			kill(old[i].pid, SIGTERM);
		forget(&old[i]);
	}
	if (spawner)
		kill(spawner, SIGTERM);
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* As a host that is shut down: nobody gets in any more, and the sessions are hung up.
 * The container ends when they have. */
static void stop(void)
{
	struct server *servers[] = { &keeper.active, &keeper.standby };

	if (keeper.stop)
		exit(0); /* told twice */
	keeper.stop = now_ms() + STOP_MS;
	keeper.serving = 0; /* what ends is not started again */
	keeper.restart = 0;
	for (size_t i = 0; i < LENGTH(servers); i++)
		if (servers[i]->pid)
			kill(servers[i]->pid, SIGTERM);
	if (keeper.spawner)
		kill(keeper.spawner, SIGTERM);
	if (keeper.listener >= 0)
		shutdown(keeper.listener, SHUT_RDWR);
	sessions_hang_up("the container is being stopped");
}

static void signalled(void)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof info) == sizeof info)
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap();
			break;
		case SIGHUP:
			if (keeper.stop)
				break;
			resume_exec();
			keeper_renew(); /* the new program could not be run */
			break;
		case SIGTERM:
		case SIGINT:
			stop();
		}
}

static int earliest(long now, long next)
{
	if (!next)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

static void loop(void)
{
	struct epoll_event events[64];

	for (;;) {
		long now = now_ms(), next = 0;
		if (keeper.restart && keeper.restart <= now)
			restore();
		next = keeper.restart;
		sessions_tick(now, &next);
		sweeps_tick(now, &next);
		control_tick(now, &next);
		memory_tick(now, &next);
		log_tick(now, &next);
		if (keeper.stop && (keeper.stop <= now || !sessions_left())) {
			log_lost();
			exit(0); /* and the container ends */
		}
		if (keeper.stop && (!next || keeper.stop < next))
			next = keeper.stop;
		int n = epoll_wait(epoll, events, LENGTH(events), earliest(now_ms(), next));
		for (int i = 0; i < n; i++) {
			size_t index = events[i].data.u64 & 0xffffffff;
			switch ((enum kind)(events[i].data.u64 >> 32)) {
			case SIGNALS:
				signalled();
				break;
			case CONTROLS:
				control_accept();
				break;
			case REGISTERS:
				session_accept();
				break;
			case REQUEST:
				control_message(index);
				break;
			case SUPERVISOR:
				session_message(index);
				break;
			case LIFELINE:
				session_hangup(index);
				break;
			}
		}
	}
}

static int fresh(const char *mode)
{
	keeper.serving = !strcmp(mode, "serve");
	if (!keeper.serving && strcmp(mode, "idle") != 0)
		return 0;
	/* Root alone may pass: below it are the sockets. */
	if (chmod(PRIVATE, 0700) != 0) {
		logf_uid(UID_NONE, "%s: %s", PRIVATE, strerror(errno));
		exit(1);
	}
	unlink(SOCKET); /* left from before this start, maybe by another transport */
	keeper.control = listen_at(CONTROL, SOCK_STREAM, 0600);
	keeper.registers = listen_at(REGISTER, SOCK_SEQPACKET, 0600);
	if (keeper.serving)
		keeper.listener = listen_at(SOCKET, SOCK_STREAM, 0666);
	if (keeper.control < 0 || keeper.registers < 0 || (keeper.serving && keeper.listener < 0))
		exit(1);
	unsettled();
	return 1;
}

int main(int argc, char **argv)
{
	sigset_t mask;

	if (argc > 1 && !strcmp(argv[1], "watch"))
		return watch_main(argc, argv);
	log_open();
	if (getpid() != 1) {
		dprintf(2, "berth-init is a container's first process; `berth up` makes it one\n");
		return 2;
	}
	prctl(PR_SET_DUMPABLE, 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	getrlimit(RLIMIT_NOFILE, &keeper.files);
	orphans_open();
	sweep_open();
	memory_open();
	int resumed = argc > 2 && !strcmp(argv[1], "resume");
	if (signals < 0 || epoll < 0 || !(resumed ? resume_read(argc, argv) : argc == 2 && fresh(argv[1]))) {
		dprintf(2, "usage: berth-init serve | idle\n");
		return 2;
	}
	struct rlimit most = { keeper.files.rlim_max, keeper.files.rlim_max };
	setrlimit(RLIMIT_NOFILE, &most);
	watch_fd(signals, EPOLLIN, SIGNALS, 0);
	watch_fd(keeper.control, EPOLLIN, CONTROLS, 0);
	watch_fd(keeper.registers, EPOLLIN, REGISTERS, 0);
	if (resumed) {
		const char *failure = keeper_renew();
		if (control_pending() >= 0)
			control_answer(control_pending(), failure ? failure : "ok");
	} else {
		restore();
	}
	loop();
}
