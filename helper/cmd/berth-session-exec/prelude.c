// SPDX-License-Identifier: Apache-2.0
//
// The only lines of berth that run on the host with a right the user lacks:
// setgid to the engine's group, in a constructor, before the Go runtime and any
// other thread exist. Three acts (two connections to the engine, one lifeline
// socket), then the group is given up for good, and only then is anything parsed
// that somebody chose. Before that the loader alone, which knows that the program
// is setgid, looks at the environment. The paths are constants.
//
// ORDER MATTERS. Guarded by TestSessionHoldsNoPrivilege (test/login).

#define _GNU_SOURCE
#include "prelude.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ENGINE "/etc/berth/engine.sock"
#define LIFELINES "/var/lib/berth/lifeline/"

struct berth_prelude berth_prelude = { .engine = { -1, -1 }, .lifeline = -1 };

__attribute__((noreturn)) static void refuse(const char *why)
{
	static const char head[] = "berth: ";
	static const char tail[] = "; nobody was let in\n";
	ssize_t n = write(2, head, sizeof head - 1);
	n = write(2, why, strlen(why));
	n = write(2, tail, sizeof tail - 1);
	(void)n;
	_exit(255);
}

static int engine_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = ENGINE };
	/* connect(2) to an engine that accepts no more waits for this long. */
	struct timeval bound = { .tv_sec = 5 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) != 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* The name holds the caller's own uid and pid: nobody else alive has it, so a
 * file that is there was left by a session that is gone, and the directory's
 * sticky bit lets its owner alone remove it. */
static int lifeline_bind(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	snprintf(berth_prelude.name, sizeof berth_prelude.name, "%lu.%lu",
		 (unsigned long)getuid(), (unsigned long)getpid());
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s%s", LIFELINES, berth_prelude.name);
	unlink(addr.sun_path);
	/* 0666: container root has no capability to override a mode with. The
	 * directory keeps everybody else away. */
	mode_t mask = umask(0111);
	int failed = bind(fd, (struct sockaddr *)&addr, sizeof addr), saved = errno;
	umask(mask);
	if (failed) {
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static void give_up_group(void)
{
	gid_t own = getgid(), r, e, s;
	if (setresgid(own, own, own) != 0)
		refuse("the engine's group could not be given up");
	if (getresgid(&r, &e, &s) != 0 || r != own || e != own || s != own)
		refuse("the engine's group was not given up");
	/* Try to take it back, in both of the ways there are. */
	if (berth_prelude.group != own &&
	    (setresgid((gid_t)-1, berth_prelude.group, (gid_t)-1) == 0 || setgid(berth_prelude.group) == 0))
		refuse("the engine's group came back");
}

/* The first constructor: internal/host/process/start.c has the next. */
__attribute__((constructor(101))) static void prelude(void)
{
	if (getuid() != geteuid())
		refuse("this program must not be setuid");
	prctl(PR_SET_DUMPABLE, 0);
	if (close_range(3, ~0U, 0) != 0)
		refuse("this host lacks close_range(2), berth needs Linux 5.11 or newer");
	berth_prelude.group = getegid();
	/* Root is refused later, with words; it needs no group's help. */
	berth_prelude.privileged = berth_prelude.group != getgid() && getuid() != 0;
	if (!berth_prelude.privileged)
		return;
	for (int i = 0; i < 2; i++)
		if ((berth_prelude.engine[i] = engine_connect()) < 0)
			berth_prelude.engine_errno = errno;
	/* Without an engine nobody will come, nor take the socket away. */
	if (berth_prelude.engine_errno == 0 && (berth_prelude.lifeline = lifeline_bind()) < 0)
		berth_prelude.lifeline_errno = errno;
	give_up_group();
	/* A change of credentials resets it (prctl(2)). */
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		refuse("the session could not be made undumpable");
	/* listen(2) records the credentials that the other end sees as SO_PEERCRED:
	 * by now the user's, and nothing else. */
	if (berth_prelude.lifeline >= 0 && listen(berth_prelude.lifeline, 1) != 0) {
		berth_prelude.lifeline_errno = errno;
		close(berth_prelude.lifeline);
		berth_prelude.lifeline = -1;
	}
}
