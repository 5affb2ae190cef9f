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
 * told, then killed within 2 s (package supervisor). The engine waits for 5 (package
 * engine). */
#define STOP_TIMEOUT_MS 4000

struct keeper keeper = {
	.session_listener = -1,
	.control_listener = -1,
	.register_listener = -1,
	.spawner_fd = -1,
	.active.start_fd = -1,
	.standby.start_fd = -1,
};
static int epoll_fd = -1, signal_fd = -1;

int watch_fd(int fd, uint32_t events, enum event_source source, size_t index)
{
	struct epoll_event e = { .events = events, .data.u64 = (uint64_t)source << 32 | index };
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

void unwatch(int fd)
{
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

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
static void mark_unsettled(void)
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
	if (write(s->start_fd, "", 1) != 1)
		logf_uid(UID_NONE, "the server %d is not told to serve: %s", (int)s->pid, strerror(errno));
	close(s->start_fd);
	s->start_fd = -1;
}

static void log_not_started(const char *what)
{
	logf_uid(0, "%s does not start: %s; tried again", what, strerror(errno));
	keeper.restart_at = now_ms() + RESTART_MS;
}

/* Starts what should run and does not. If there is no room now, it is tried again. */
static void start_missing(void)
{
	keeper.restart_at = 0;
	if (!keeper.serving)
		return;
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

static void clear_server(struct server *s)
{
	if (s->start_fd >= 0)
		close(s->start_fd);
	*s = (struct server){ .start_fd = -1 };
}

/* A program that ends as soon as it is started is started again after a pause. */
static void server_exit(pid_t pid, int status)
{
	struct server *s = pid == keeper.active.pid ? &keeper.active : &keeper.standby;
	const char *what = s == &keeper.active ? "the server" : "the server that stands by";
	long lived = now_ms() - s->started;

	logf_uid(0, "%s ended (status %d, signal %d); the sessions go on", what,
		 WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	clear_server(s);
	if (lived < RESTART_MS)
		keeper.restart_at = now_ms() + 4 * RESTART_MS;
	if (!keeper.active.pid && keeper.standby.pid) {
		keeper.active = keeper.standby;
		keeper.standby = (struct server){ .start_fd = -1 };
		activate(&keeper.active);
	}
	if (!keeper.restart_at)
		start_missing();
}

static void reap_children(void)
{
	int status;

	for (;;) {
		siginfo_t ended = { .si_pid = 0 };
		/* Left as it is at first: so long its pid is its own. */
		if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || !ended.si_pid)
			break;
		pid_t pid = ended.si_pid;
		if (ended.si_uid != 0 && !sweep_is_child(pid))
			session_orphan_exit(pid, ended.si_uid);
		if (waitpid(pid, &status, WNOHANG) != pid)
			break;
		if (pid == keeper.active.pid || pid == keeper.standby.pid) {
			server_exit(pid, status);
		} else if (pid == keeper.spawner) {
			keeper.spawner = 0;
			logf_uid(0, "what starts supervisors ended; the sessions go on");
			if (now_ms() - keeper.spawner_started < RESTART_MS) {
				keeper.restart_at = now_ms() + RESTART_MS; /* not in a circle */
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
	struct server old[2] = { keeper.active, keeper.standby }, next[2] = { { .start_fd = -1 }, { .start_fd = -1 } };
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
	for (size_t i = 0; i < LENGTH(old); i++) {
		if (old[i].pid)
			kill(old[i].pid, SIGTERM);
		clear_server(&old[i]);
	}
	if (spawner)
		kill(spawner, SIGTERM);
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* As a host that is shut down: nobody gets in any more, and the sessions are hung up.
 * The container ends when they have. */
static void stop_sessions(void)
{
	struct server *servers[] = { &keeper.active, &keeper.standby };

	if (keeper.stop_at)
		exit(0); /* told twice */
	keeper.stop_at = now_ms() + STOP_TIMEOUT_MS;
	keeper.serving = 0; /* what ends is not started again */
	keeper.restart_at = 0;
	for (size_t i = 0; i < LENGTH(servers); i++)
		if (servers[i]->pid)
			kill(servers[i]->pid, SIGTERM);
	if (keeper.spawner)
		kill(keeper.spawner, SIGTERM);
	if (keeper.session_listener >= 0)
		shutdown(keeper.session_listener, SHUT_RDWR);
	sessions_hang_up("the container is being stopped");
}

static void handle_signals(void)
{
	struct signalfd_siginfo info;

	while (read(signal_fd, &info, sizeof info) == sizeof info)
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap_children();
			break;
		case SIGHUP:
			if (keeper.stop_at)
				break;
			resume_exec();
			keeper_renew(); /* the new program could not be run */
			break;
		case SIGTERM:
		case SIGINT:
			stop_sessions();
		}
}

static int wait_ms(long now, long next)
{
	if (!next)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

static void run(void)
{
	struct epoll_event events[64];

	for (;;) {
		long now = now_ms(), next = 0;
		if (keeper.restart_at && keeper.restart_at <= now)
			start_missing();
		next = keeper.restart_at;
		sessions_tick(now, &next);
		sweeps_tick(now, &next);
		control_tick(now, &next);
		memory_tick(now, &next);
		log_tick(now, &next);
		if (keeper.stop_at && (keeper.stop_at <= now || !sessions_remain())) {
			log_report_dropped();
			exit(0); /* and the container ends */
		}
		set_earlier(&next, keeper.stop_at);
		int n = epoll_wait(epoll_fd, events, LENGTH(events), wait_ms(now_ms(), next));
		for (int i = 0; i < n; i++) {
			size_t index = events[i].data.u64 & 0xffffffff;
			switch ((enum event_source)(events[i].data.u64 >> 32)) {
			case SOURCE_SIGNALS:
				handle_signals();
				break;
			case SOURCE_CONTROL_LISTENER:
				control_accept();
				break;
			case SOURCE_REGISTER_LISTENER:
				session_accept();
				break;
			case SOURCE_CONTROL:
				control_receive(index);
				break;
			case SOURCE_SUPERVISOR:
				session_receive(index);
				break;
			case SOURCE_LIFELINE:
				session_lifeline_event(index);
				break;
			}
		}
	}
}

static int start_anew(const char *mode)
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
	keeper.control_listener = listen_at(CONTROL, SOCK_STREAM, 0600);
	keeper.register_listener = listen_at(REGISTER, SOCK_SEQPACKET, 0600);
	if (keeper.serving)
		keeper.session_listener = listen_at(SOCKET, SOCK_STREAM, 0666);
	if (keeper.control_listener < 0 || keeper.register_listener < 0 || (keeper.serving && keeper.session_listener < 0))
		exit(1);
	mark_unsettled();
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
	signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	getrlimit(RLIMIT_NOFILE, &keeper.nofile_limit);
	orphans_open();
	sweep_open();
	memory_open();
	int resumed = argc > 2 && !strcmp(argv[1], "resume");
	if (signal_fd < 0 || epoll_fd < 0 || !(resumed ? resume_read(argc, argv) : argc == 2 && start_anew(argv[1]))) {
		dprintf(2, "usage: berth-init serve | idle\n");
		return 2;
	}
	struct rlimit raised = { keeper.nofile_limit.rlim_max, keeper.nofile_limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &raised);
	watch_fd(signal_fd, EPOLLIN, SOURCE_SIGNALS, 0);
	watch_fd(keeper.control_listener, EPOLLIN, SOURCE_CONTROL_LISTENER, 0);
	watch_fd(keeper.register_listener, EPOLLIN, SOURCE_REGISTER_LISTENER, 0);
	if (resumed) {
		const char *failure = keeper_renew();
		if (control_renewal_fd() >= 0)
			control_answer(control_renewal_fd(), failure ? failure : "ok");
	} else {
		start_missing();
	}
	run();
}
