// SPDX-License-Identifier: Apache-2.0
#ifndef BERTH_PRELUDE_H
#define BERTH_PRELUDE_H

#include <sys/types.h>

struct berth_prelude {
	int privileged;        /* the program was started with a group of its own */
	int engine[2];         /* connections to the engine, or -1 */
	int engine_errno;      /* why not */
	int lifeline;          /* the listening lifeline, or -1 */
	int lifeline_errno;    /* why not */
	gid_t group;           /* the group given up: the engine's */
	char name[48];         /* the lifeline's file name */
};

extern struct berth_prelude berth_prelude;

#endif
