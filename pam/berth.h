/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PAM_H
#define BERTH_PAM_H

#include <linux/close_range.h>
#include <pwd.h>
#include <security/pam_modules.h>
#include <security/pam_modutil.h>

/* The floor that README.md names: Linux 5.11 (CLOSE_RANGE_CLOEXEC is of it) and
 * Linux-PAM 1.5 (the function is). */
#ifndef CLOSE_RANGE_CLOEXEC
#error "berth needs the kernel headers of Linux 5.11 or newer"
#endif
_Static_assert(sizeof &pam_modutil_check_user_in_passwd, "berth needs Linux-PAM 1.5 or newer");

/* Options whose value is the worker's to read. */
enum { BERTH_SKEL, BERTH_UMASK, BERTH_MODE, BERTH_KEYS, BERTH_EXISTING, BERTH_SSH_DIR, BERTH_PASSED };

/* What the PAM line says. */
struct berth_options {
	int silent;
	int debug;
	int deny;          /* exec_failure=deny */
	int timeout;       /* seconds */
	unsigned long uid_min, uid_max;
	const char *group; /* NULL: everybody */
	const char *exec;  /* NULL: none */
	const char *passed[BERTH_PASSED]; /* as they stand in the line, or NULL */
};

/* The interface between the C side and the worker, which may be of different
 * versions while an upgrade runs: argv is the name of one of four errands, then
 * key=value. The worker answers on descriptor RESULT_FD in lines: E, W, I, D and
 * text for the log, U and text for the user, at last R and a PAM return code. X
 * and an errno is the C side's own child, which could not become the worker. */
#define ERRAND_HOME "berth-home-2"
#define ERRAND_EXEC "berth-exec-2"
#define ERRAND_NAMES "berth-names-2"
#define ERRAND_SETTLE "berth-settle-1"
#define RESULT_FD 3

/* Where a host with berth's container wants the names of its users. */
#define NAMES "/var/lib/berth/names"

/* Where it wants a directory for each user, for the record of sessions
 * (helper/internal/link/sessionlog has the same path and names). */
#define SESSIONS "/var/lib/berth/sessions"

/* A container that was started since the last session, or a part of it, has this
 * file: root of the host is to look after it (berth settle, berth(8)). */
#define UNSETTLED "/var/lib/berth/serve/unsettled"
#ifndef BERTH_PROGRAM
#define BERTH_PROGRAM "/usr/sbin/berth"
#endif

/* Each runs this file as a program and returns its result. The first prepares
 * the home; the second runs the site's script, type being its PAM_TYPE; the
 * third records what NSS calls the user; the fourth runs `berth settle`. */
int berth_home(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o);
int berth_exec(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o, const char *type);
int berth_names(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o);
int berth_settle(pam_handle_t *pamh, const struct berth_options *o);

/* Gives the connection an id, which goes into every message and to berth-session,
 * and the user a directory for what has no end yet (sessions.c). */
void berth_connect(pam_handle_t *pamh, const struct passwd *pw);
/* Writes the ends that the connection's sessions could not write. */
void berth_disconnect(pam_handle_t *pamh);

/* A line for the log, and one for the user (style: PAM_ERROR_MSG or PAM_TEXT_INFO),
 * with the connection's id. */
__attribute__((format(printf, 3, 4))) void berth_log(const pam_handle_t *pamh, int level, const char *format, ...);
__attribute__((format(printf, 3, 4))) void berth_tell(pam_handle_t *pamh, int style, const char *format, ...);

/* Milliseconds of a clock that is never set. */
long berth_now_ms(void);

#endif
