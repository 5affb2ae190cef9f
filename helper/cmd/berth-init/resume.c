// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// The keeper becomes the program that is installed now. What it knows goes along in
// the arguments, and its descriptors stay open; it needs no new process or thread.
// The form of the arguments is fixed, because another version reads them.
//
//	berth-init resume SERVING LISTENER CONTROL REGISTERS SOFT-NOFILE PENDING
//	    "server PID START" "standby PID START" "spawner PID FD" "session ..."... "sweep UID GID"...

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIXED 8
#define WORD 128

/* The descriptors of the state stay open over execve(2), or do not. */
static void keep(int fd, int yes)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, yes ? 0 : FD_CLOEXEC);
}

static void keep_all(int yes)
{
	int fds[] = { keeper.listener, keeper.control, keeper.registers, keeper.spawner_fd, keeper.active.start, keeper.standby.start, control_pending() };

	for (size_t i = 0; i < LENGTH(fds); i++)
		keep(fds[i], yes);
	for (size_t i = 0; i < sessions_used; i++)
		if (sessions[i].state != FREE) {
			keep(sessions[i].connection, yes);
			keep(sessions[i].lifeline, yes);
		}
}

void resume_exec(void)
{
	static char words[MOST_SESSIONS + 300][WORD];
	static char *argv[MOST_SESSIONS + 310];
	static char *environment[] = { NULL };
	int n = 0, a = 0, state;

	log_lost();
#define ADD(...) (snprintf(words[n], WORD, __VA_ARGS__), argv[a++] = words[n++])
	argv[a++] = (char[]){ SELF };
	argv[a++] = (char[]){ "resume" };
	ADD("%d", keeper.serving);
	ADD("%d", keeper.listener);
	ADD("%d", keeper.control);
	ADD("%d", keeper.registers);
	ADD("%llu", (unsigned long long)keeper.files.rlim_cur);
	ADD("%d", control_pending());
	ADD("server %d %d", (int)keeper.active.pid, keeper.active.start);
	ADD("standby %d %d", (int)keeper.standby.pid, keeper.standby.start);
	ADD("spawner %d %d", (int)keeper.spawner, keeper.spawner_fd);
	for (size_t i = 0; i < sessions_used; i++) {
		const struct session *s = &sessions[i];
		if (s->state != FREE)
			ADD("session %d %d %lu %lu %d %d %d %d %ld %lld", (int)s->state, (int)s->pid, (unsigned long)s->uid, (unsigned long)s->gid, s->connection,
			    s->lifeline, s->linger, s->direct, s->deadline, s->since);
	}
	uid_t uid;
	gid_t gid;
	for (size_t i = 0; (state = sweep_stop(i, &uid, &gid)) >= 0; i++)
		if (state)
			ADD("sweep %lu %lu", (unsigned long)uid, (unsigned long)gid);
#undef ADD
	argv[a] = NULL;
	keep_all(1);
	execve(SELF, argv, environment);
	int failure = errno;
	keep_all(0);
	logf_uid(0, "%s: %s; this one goes on", SELF, strerror(failure));
	errno = failure;
}

int resume_read(int argc, char **argv)
{
	int pid, fd;

	if (argc < FIXED + 3)
		return 0;
	keeper.serving = atoi(argv[2]);
	keeper.listener = atoi(argv[3]);
	keeper.control = atoi(argv[4]);
	keeper.registers = atoi(argv[5]);
	keeper.files.rlim_cur = strtoull(argv[6], NULL, 10);
	control_resume(atoi(argv[7]));
	for (int i = FIXED; i < argc; i++) {
		struct session s = { .state = FREE };
		unsigned long uid, gid;
		int state;
		if (sscanf(argv[i], "server %d %d", &pid, &fd) == 2) {
			keeper.active = (struct server){ .pid = pid, .start = fd };
		} else if (sscanf(argv[i], "standby %d %d", &pid, &fd) == 2) {
			keeper.standby = (struct server){ .pid = pid, .start = fd };
		} else if (sscanf(argv[i], "spawner %d %d", &pid, &fd) == 2) {
			keeper.spawner = pid;
			keeper.spawner_fd = fd;
		} else if (sscanf(argv[i], "session %d %d %lu %lu %d %d %d %d %ld %lld", &state, &pid, &uid, &gid, &s.connection, &s.lifeline, &s.linger, &s.direct,
				  &s.deadline, &s.since) == 10) {
			s.state = (enum state)state;
			s.pid = pid;
			s.uid = (uid_t)uid;
			s.gid = (gid_t)gid;
			if (session_adopt(&s) != 0)
				logf_uid(0, "the session %d is no longer watched: %s", pid, strerror(errno));
		} else if (sscanf(argv[i], "sweep %lu %lu", &uid, &gid) == 2) {
			sweep_user((uid_t)uid, (gid_t)gid);
		}
	}
	keep_all(0);
	sessions_resumed();
	return 1;
}
