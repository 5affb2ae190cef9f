/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PAM_LEASE_H
#define BERTH_PAM_LEASE_H

#include <pwd.h>
#include <security/pam_modules.h>
#include <sys/stat.h>

/* The container that root has decided on for a user, by a link in USERS. */
struct place {
	int directory;    /* what it shares with the host, O_PATH; -1: none was found */
	struct stat link; /* its time of modification is that of the decision */
	char at[320];     /* where: for the log */
};

/* Finds it. Fails with errno and p->at. */
int berth_find(uid_t uid, struct place *p);
void berth_forget(struct place *p);

/* Finds it and takes its lease, until end (berth_now_ms()) at the latest. Returns a
 * descriptor, or fails with errno and p->at: ETIMEDOUT where the container was still
 * ending. p has what was found in either case, to be forgotten. */
int berth_lease_take(uid_t uid, struct place *p, long end);
/* Whether a lease is that of the container that the user has now. */
int berth_lease_current(int fd, uid_t uid);

/* Keeps the lease with the connection, in place of the one before; -1 is none. If it
 * cannot be kept it is closed, with a line in the log. */
int berth_lease_keep(pam_handle_t *pamh, int fd);

/* Connects to a socket in the directory without waiting: EAGAIN if its queue is full. By a
 * descriptor of the file itself, so that no link is followed. */
int berth_reach(const struct place *p, const char *name);

/* Enters the container's network for good (network.c), or fails with a line in the log. */
int berth_network_enter(pam_handle_t *pamh, const struct passwd *pw, const struct place *p);

#endif
