/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PAM_H
#define BERTH_PAM_H

#include <pwd.h>
#include <security/pam_modules.h>

/* What the PAM line says. */
struct berth_options {
	int silent;
	int debug;
	const char *skel;  /* NULL: the default */
	const char *umask; /* NULL: login.defs */
};

/* The interface between the C side and the worker, which may be of different
 * versions while an upgrade runs: argv is WORKER_MARK, then key=value. The
 * worker answers on descriptor RESULT_FD in lines: E, W, D and text for the
 * log, U and text for the user, at last R and a PAM return code. */
#define WORKER_MARK "berth-worker-1"
#define RESULT_FD 3

/* Runs this file as a program that prepares the home, and returns its result. */
int berth_work(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o);

#endif
