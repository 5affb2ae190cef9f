// SPDX-License-Identifier: Apache-2.0
#ifndef BERTH_PROCESS_H
#define BERTH_PROCESS_H

#include <sys/resource.h>
#include <sys/types.h>

#define BERTH_LIMITS 16 /* RLIM_NLIMITS of Linux */

/* What the caller left, as it was before anything of ours changed it. */
struct berth_process {
	unsigned umask;
	struct rlimit limits[BERTH_LIMITS];
};

extern struct berth_process berth_process;

/* Ends the process with one line for the user. */
__attribute__((noreturn)) void berth_refuse(const char *why);
void berth_die(int sig);
int berth_slim(void);

#endif
