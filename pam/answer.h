/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PAM_ANSWER_H
#define BERTH_PAM_ANSWER_H

#include "berth.h"

#include <stddef.h>

/* A worker's answer (berth.h), as it is read. */
struct reader {
	pam_handle_t *pamh;
	const struct berth_options *o;
	const char *self; /* what runs as the worker */
	long end;         /* until when, in berth_now_ms(); 0: o->timeout from now */
	char line[512];
	size_t used;
	int lines;
	int told;   /* the user has been told something */
	int result; /* -1 until the worker has said it */
};

/* Reads until the worker has said its result, closed the pipe, or used up its
 * time. Only the first two, which return true, mean that it is done. */
int berth_answer(struct reader *r, int fd);

/* Takes a last line that the worker did not end. */
void berth_answer_rest(struct reader *r);

/* What to add to the words for an error that says that the kernel is too old. */
const char *berth_floor(int error);

#endif
