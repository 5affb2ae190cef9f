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
		if (!servers_reaped(pid, status))
			sweep_reaped(pid, status);
	}
}

/* As a host that is shut down: nobody gets in any more, and the sessions are hung up.
 * The container ends when they have. */
static void stop_sessions(void)
{
	if (keeper.stop_at)
		exit(0); /* told twice */
	keeper.stop_at = now_ms() + STOP_TIMEOUT_MS;
	servers_stop();
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
			servers_start_missing();
		next = keeper.restart_at;
		sessions_tick(now, &next);
		sweeps_tick(now, &next);
		control_tick(now, &next);
		memory_tick(now, &next);
		log_tick(now, &next);
		lease_tick(now, &next);
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
			case SOURCE_CALLERS:
				servers_caller();
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
	rules_read();
	lease_open();
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
		servers_start_missing();
	}
	run();
}
