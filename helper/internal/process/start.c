// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-session, berth-session-docker. As: the user; in the second
// with the engine's group as effective gid.

#include "built.h"
#include "start.h"

#include <string.h>
#include <unistd.h>

struct rlimit berth_nofile;

/* The Go runtime takes GODEBUG, GOMEMLIMIT, GOGC and their like from its
 * caller, in a setgid program too (runtime/security_unix.go clears GOTRACEBACK
 * alone). Entries are overwritten, not removed: the runtime finds the auxiliary
 * vector by counting them. */
static void forget_go(void)
{
	static char none[] = "_=";
	for (char **e = environ; e && *e; e++)
		if (!strncmp(*e, "GO", 2) || !strncmp(*e, "CGO_", 4))
			*e = none;
}

__attribute__((constructor)) static void start(void)
{
	forget_go();
	/* The runtime raises it (syscall/rlimit.go). */
	getrlimit(RLIMIT_NOFILE, &berth_nofile);
}
