// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// The keeper becomes the program that is installed now. What it knows goes along in
// the arguments, and its descriptors stay open; it needs no new process or thread.
// The form of the arguments is fixed, because another version reads them.
//
//	berth-init resume SERVING LISTENER CONTROL REGISTERS SOFT-NOFILE PENDING
//	    "server PID START" "standby PID START" "spawner PID FD" "session ..."... "lease USE SECONDS NANOSECONDS" "sweep UID GID"...

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIXED_ARGS 8
#define MAX_WORD 192

/* The descriptors of the state stay open over execve(2), or do not. */
static void set_inherited(int fd, int inherited)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, inherited ? 0 : FD_CLOEXEC);
}

static void set_all_inherited(int inherited)
{
	int fds[] = {
		keeper.session_listener, keeper.control_listener, keeper.register_listener, keeper.spawner_fd,
		keeper.active.start_fd, keeper.standby.start_fd, control_renewal_fd(),
	};

	for (size_t i = 0; i < LENGTH(fds); i++)
		set_inherited(fds[i], inherited);
	for (size_t i = 0; i < sessions_used; i++)
		if (sessions[i].state != FREE) {
			set_inherited(sessions[i].connection, inherited);
			set_inherited(sessions[i].lifeline, inherited);
		}
}

void resume_exec(void)
{
	static char words[MAX_SESSIONS + 300][MAX_WORD];
	static char *argv[MAX_SESSIONS + 310];
	static char *environment[] = { NULL };
	int n = 0, a = 0, state;

	log_report_dropped();
#define ADD(...) (snprintf(words[n], MAX_WORD, __VA_ARGS__), argv[a++] = words[n++])
	argv[a++] = (char[]){ SELF };
	argv[a++] = (char[]){ "resume" };
	ADD("%d", keeper.serving);
	ADD("%d", keeper.session_listener);
	ADD("%d", keeper.control_listener);
	ADD("%d", keeper.register_listener);
	ADD("%llu", (unsigned long long)keeper.nofile_limit.rlim_cur);
	ADD("%d", control_renewal_fd());
	ADD("server %d %d", (int)keeper.active.pid, keeper.active.start_fd);
	ADD("standby %d %d", (int)keeper.standby.pid, keeper.standby.start_fd);
	ADD("spawner %d %d", (int)keeper.spawner, keeper.spawner_fd);
	for (size_t i = 0; i < sessions_used; i++) {
		const struct session *s = &sessions[i];
		if (s->state != FREE)
			ADD("session %d %d %lu %lu %d %d %d %d %ld %lld %d %ld %s", (int)s->state, (int)s->pid, (unsigned long)s->uid,
			    (unsigned long)s->gid, s->connection, s->lifeline, s->linger, s->direct, s->deadline, s->since,
			    s->linger_seconds, s->lingers_until, s->id);
	}
	lease_format(words[n], MAX_WORD);
	argv[a++] = words[n++];
	uid_t uid;
	gid_t gid;
	for (size_t i = 0; (state = sweep_halt(i, &uid, &gid)) >= 0; i++)
		if (state)
			ADD("sweep %lu %lu", (unsigned long)uid, (unsigned long)gid);
#undef ADD
	argv[a] = NULL;
	set_all_inherited(1);
	execve(SELF, argv, environment);
	int failure = errno;
	set_all_inherited(0);
	logf_uid(0, "%s: %s; this one goes on", SELF, strerror(failure));
	errno = failure;
}

int resume_read(int argc, char **argv)
{
	int pid, fd;

	if (argc < FIXED_ARGS + 3)
		return 0;
	keeper.serving = atoi(argv[2]);
	keeper.session_listener = atoi(argv[3]);
	keeper.control_listener = atoi(argv[4]);
	keeper.register_listener = atoi(argv[5]);
	keeper.nofile_limit.rlim_cur = strtoull(argv[6], NULL, 10);
	control_set_renewal_fd(atoi(argv[7]));
	for (int i = FIXED_ARGS; i < argc; i++) {
		struct session s = { .state = FREE };
		unsigned long uid, gid;
		int state;
		if (sscanf(argv[i], "server %d %d", &pid, &fd) == 2) {
			keeper.active = (struct server){ .pid = pid, .start_fd = fd };
		} else if (sscanf(argv[i], "standby %d %d", &pid, &fd) == 2) {
			keeper.standby = (struct server){ .pid = pid, .start_fd = fd };
		} else if (sscanf(argv[i], "spawner %d %d", &pid, &fd) == 2) {
			keeper.spawner = pid;
			keeper.spawner_fd = fd;
		} else if (sscanf(argv[i], "session %d %d %lu %lu %d %d %d %d %ld %lld %d %ld %17s", &state, &pid, &uid, &gid, &s.connection,
				  &s.lifeline, &s.linger, &s.direct, &s.deadline, &s.since, &s.linger_seconds, &s.lingers_until, s.id) >= 10) {
			s.state = (enum state)state;
			s.pid = pid;
			s.uid = (uid_t)uid;
			s.gid = (gid_t)gid;
			if (session_adopt(&s) != 0)
				logf_uid(0, "the session %d is no longer watched: %s", pid, strerror(errno));
		} else if (sscanf(argv[i], "sweep %lu %lu", &uid, &gid) == 2) {
			sweep_user((uid_t)uid, (gid_t)gid);
		} else {
			lease_parse(argv[i]);
		}
	}
	set_all_inherited(0);
	sessions_after_resume();
	return 1;
}
