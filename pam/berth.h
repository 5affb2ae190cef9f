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
	int container;     /* the line is for the user's container, not the home */
	int timeout;       /* seconds */
	unsigned long uid_min, uid_max;
	const char *group; /* names, with commas between; NULL: everybody */
	const char *exec;  /* NULL: none */
	const char *passed[BERTH_PASSED]; /* as they stand in the line, or NULL */
};

/* The interface between the C side and the worker, which may be of different
 * versions while an upgrade runs: argv is the name of one of four tasks, then
 * key=value. The worker answers on descriptor RESULT_FD in lines: E, W, I, D and
 * text for the log, U and text for the user, at last R and a PAM return code. X
 * and an errno is the C side's own child, which could not become the worker. */
#define TASK_HOME "berth-home-2"
#define TASK_EXEC "berth-exec-2"
#define TASK_NAMES "berth-names-2"
#define TASK_PREPARE "berth-prepare-1"
#define RESULT_FD 3

/* What a host with berth's container has (helper/internal/policy and link/paths have
 * the same): the names of its users, and a directory for each, for the record of
 * sessions. */
#define STATE "/var/lib/berth"
#define NAMES STATE "/names"
#define SESSIONS STATE "/sessions"

/* In USERS is a link UID, to ../profiles/PROFILE/CONTAINER: the container of that user. In
 * that directory are the sockets of the container and of its keeper; a mark, while root of
 * the host is to look after a container that was started; and the lease (lease.c). */
#define USERS "users"
#define PROFILES "profiles"
#define SOCKET "socket"
#define CONTROL "control"
#define UNSETTLED "unsettled"
#define LEASE "lease"
/* Where that directory is in the container (helper/cmd/berth-init/init.h). */
#define SERVE "run/berth/private/serve"

/* This file exists while users may forward ports. Something is in it if profiles have them by name. */
#define FORWARDING STATE "/forwarding"
/* An empty network in RUN, if root has mounted one: to enter it is cheaper than to make one. */
#define RUN "/run/berth"
#define NOWHERE "nowhere"
/* sshd's drop-in and stack confine members of the first group who are not in the second, and
 * accounts with this login shell. */
#define CONFINED "berth"
#define ADMINS "admins"
#define CONFINING_SHELL "/berth-session"

#define CONFIG "/etc/berth/berth.toml"
#ifndef BERTH_PROGRAM
#define BERTH_PROGRAM "/usr/sbin/berth"
#endif

/* Each runs this file as a program and returns its result. The first prepares
 * the home; the second runs the site's script, type being its PAM_TYPE; the
 * third records what NSS calls the user; the fourth runs `berth prepare UID`, until
 * end (berth_now_ms()) at the latest. */
int berth_home(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o);
int berth_exec(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o, const char *type);
int berth_names(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o);
int berth_prepare(pam_handle_t *pamh, uid_t uid, const struct berth_options *o, long end);

/* Takes the lease of the user's container for the connection, and has it prepared where
 * it is not ready; the process ends up in its network, or in an empty one (container.c). */
int berth_container(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o);

/* All in network.c. empty: the process moves into an empty network for good; if the kernel
 * refuses, the process ends. leave: the same, but back returns from it. back returns whether
 * there was anything to return from. */
void berth_network_empty(pam_handle_t *pamh);
void berth_network_leave(pam_handle_t *pamh);
int berth_network_back(pam_handle_t *pamh);

/* Gives the connection an id, which goes into every message and to berth-session,
 * and the user a directory for what has no end yet (sessions.c). */
void berth_connect(pam_handle_t *pamh, const struct passwd *pw);
/* Writes the ends that the connection's sessions could not write. */
void berth_disconnect(pam_handle_t *pamh);

/* A line for the log, and one for the user (style: PAM_ERROR_MSG or PAM_TEXT_INFO),
 * with the connection's id. */
__attribute__((format(printf, 3, 4))) void berth_log(const pam_handle_t *pamh, int level, const char *format, ...);
__attribute__((format(printf, 3, 4))) void berth_tell(pam_handle_t *pamh, int style, const char *format, ...);

/* Opens a directory that is root's, and nobody else's to write, as O_PATH, and follows no
 * link there. Fails with errno. */
int berth_open_root(int at, const char *name);
/* Whether something of that age was made after the sources, whose list ends with NULL,
 * and not long ago: a directory server's changes are seen some time later. */
struct stat;
int berth_fresh(const struct stat *made, const char *const *sources);
/* Whether both are of one file. */
int berth_same(const struct stat *a, const struct stat *b);

/* close(2) that leaves errno as it is, of a descriptor or -1. */
void berth_shut(int fd);
/* Keeps a descriptor under a name until the end of the PAM transaction, in place of the one
 * before; -1 is none. If it cannot be kept it is closed. */
int berth_keep(pam_handle_t *pamh, const char *name, int fd);
/* Whether there is one; *fd is -1 if the calling program has closed it. */
int berth_kept(pam_handle_t *pamh, const char *name, int *fd);

/* Milliseconds of a clock that is never set. */
long berth_now_ms(void);

#endif
