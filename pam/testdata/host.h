/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TEST_HOST_H
#define BERTH_TEST_HOST_H

#include <security/pam_appl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Where the application reports; odd hosts have no standard output. */
extern FILE *report;

/* What the module tells the user is reported; then during, if set, is called. */
extern const struct pam_conv conversation;
extern void (*during)(void);

/* Everything of the process that a module could spoil, a line for each, to be
 * freed. Needs no free file descriptor, and no /proc once it was called. */
char *snapshot(void);
void look(const char *when); /* reports it */
/* Reports what was changed, or that nothing was; sets differs. */
void compare(const char *what, const char *before, const char *after);
extern int differs;

/* Fails the test's host, which is as the test wants it or not there. */
void must(int result);

/* The odd host: what its traits have made of it (odd.c, traits.c). */
int odd(char **argv);
void take_on(const char *trait);
void threads_begin(void);
enum moment { NEVER, BEFORE_START, STARTED, OPENED, CLOSED };
extern struct oddity {
	enum moment fork_at;
	int crowd;            /* many open at once */
	int hard;             /* limits are hard ones */
	int free_files;       /* below a small limit; -1: no limit */
	int first_buried;     /* the first child is not there any more */
	int pending;          /* the first child's death is still to be delivered */
	int buried_by_others; /* a handler or a thread takes the children's status */
} oddity;
void limit(int which, rlim_t to);
void bury(pid_t pid, int status);
void await_death(int child);
void let_die(void); /* the second child ends, and has ended on return */

#endif
