// SPDX-License-Identifier: Apache-2.0
#ifndef BERTH_PRELUDE_H
#define BERTH_PRELUDE_H

#include <sys/resource.h>
#include <sys/types.h>

#define BERTH_LIMITS 16 /* RLIM_NLIMITS of Linux */

struct berth_prelude {
	int privileged;        /* the program was started with a group of its own */
	int engine[2];         /* connections to the engine, or -1 */
	int engine_errno;      /* why not */
	int lifeline;          /* the listening lifeline, or -1 */
	int lifeline_errno;    /* why not */
	gid_t group;           /* the group given up: the engine's */
	unsigned umask;        /* as the caller had it */
	char name[48];         /* the lifeline's file name */
	struct rlimit limits[BERTH_LIMITS]; /* as the caller had them */
};

extern struct berth_prelude berth_prelude;

void berth_die(int sig);
int berth_slim(void);

#endif
