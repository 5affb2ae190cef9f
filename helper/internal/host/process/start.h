// SPDX-License-Identifier: Apache-2.0
#ifndef BERTH_START_H
#define BERTH_START_H

#include <stdint.h>
#include <sys/resource.h>

/* The limits as the caller had them, by resource. */
extern struct rlimit berth_limits[RLIM_NLIMITS];

/* One of them may come to be felt: what is needed is better taken at once. */
extern int berth_low_limits;

/* Gives this process the caller's limits again, for the program that it becomes.
 * Go does that for the number of files. */
int berth_restore_limits(void);

/* What of the session's record is written (sessionlog.Progress), for the end that
 * has to be written in C. */
enum berth_progress { BERTH_NOTHING, BERTH_BEGUN, BERTH_RUNNING, BERTH_COMPLETE };
void berth_session(const char *id, const char *file, enum berth_progress progress);

struct berth_range {
	uintptr_t from, to;
};

/* The memory that looks like the program's file, and is not: what the loader wrote
 * before it made it read-only. */
struct berth_range berth_relro(void);

#endif
