// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM. As: root.
//
// A line with `container`, last in sshd's session stack: the connection takes the lease
// of the user's container before anything else, and root's side makes ready what is not.
// Afterwards the process is in the container's network, or in an empty one if anything fails.
//
// No failure refuses the session: sshd would go on without one and tell the user nothing,
// while berth-session refuses the login in a line of its own, with the id that is in the log.

#define _GNU_SOURCE
#include "berth.h"
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* How often it is tried to settle a container with which that fails, in seconds. */
#define SETTLE_AGAIN 60
/* How long a keeper may take to end, in ms: one that hangs is root's side's to end. */
#define LEASE_MS 4000
/* From when on the user is to know why it took so long. */
#define SLOW_MS 1000

/* Whether the container is to be settled. A mark that is empty is the keeper's; what is
 * in it was written here, when that had failed. */
static int unsettled(const struct place *p)
{
	struct stat st;

	if (fstatat(p->directory, UNSETTLED, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	time_t age = time(NULL) - st.st_mtime;
	return st.st_size == 0 || age < 0 || age >= SETTLE_AGAIN;
}

/* Writes into the mark that settling has failed just now: not every login tries it again. */
static void mark_failed(pam_handle_t *pamh, const struct place *p)
{
	static const char text[] = "failed\n";
	struct stat st;
	int fd = openat(p->directory, UNSETTLED, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return;
	int mark = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && st.st_nlink == 1;
	if (mark && (ftruncate(fd, 0) != 0 || write(fd, text, sizeof text - 1) < 0))
		berth_log(pamh, LOG_ERR, "%s/%s: %m", p->at, UNSETTLED);
	close(fd);
}

/* Whether somebody listens at a socket in the directory. */
static int listens(const struct place *p, const char *name)
{
	int fd = berth_reach(p, name);
	/* EAGAIN: its queue is full. Who listens is busy, and nobody else could help. */
	int yes = fd >= 0 || errno == EAGAIN;
	berth_shut(fd);
	return yes;
}

/* With transport exec alone there is only the keeper's own socket; a connection that
 * ends at once costs it next to nothing. */
static int serves(const struct place *p)
{
	struct stat st;
	return listens(p, fstatat(p->directory, SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0 ? SOCKET : CONTROL);
}

/* Why root's side is to act, or NULL. */
static const char *unready(const struct place *p, int lease, uid_t uid)
{
	char record[sizeof NAMES + 16];
	const char *const sources[] = { "/etc/passwd", "/etc/group", CONFIG, record, NULL };

	snprintf(record, sizeof record, "%s/%lu", NAMES, (unsigned long)uid);
	if (p->directory < 0)
		return "none is decided on";
	if (!berth_fresh(&p->link, sources))
		return "it was decided on some time ago";
	if (lease < 0)
		return "its lease cannot be had";
	if (!serves(p))
		return "nobody serves there";
	return unsettled(p) ? "it has been started" : NULL;
}

static void log_failure(pam_handle_t *pamh, const struct passwd *pw, const struct place *p, int error)
{
	if (error == ETIMEDOUT) {
		berth_log(pamh, LOG_ERR, "the container of %s cannot be had: %s: still locked when the time was up", pw->pw_name, p->at);
		return;
	}
	errno = error;
	berth_log(pamh, LOG_ERR, "the container of %s cannot be had: %s: %m", pw->pw_name, p->at);
}

int berth_container(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o)
{
	long start = berth_now_ms(), end = start + o->timeout * 1000L;
	struct place place;

	long half = o->timeout * 500L;
	int lease = berth_lease_take(pw->pw_uid, &place, start + (half < LEASE_MS ? half : LEASE_MS));
	int failure = errno;
	int failed = 0;
	const char *why = unready(&place, lease, pw->pw_uid);
	if (why) {
		if (o->debug)
			berth_log(pamh, LOG_DEBUG, "berth prepares the container of %s: %s", pw->pw_name, why);
		int prepared = berth_prepare(pamh, pw->pw_uid, o, end);
		/* It may be another one now, or another of the same name. */
		if (lease < 0 || !berth_lease_current(lease, pw->pw_uid)) {
			if (lease >= 0)
				close(lease);
			berth_forget(&place);
			lease = berth_lease_take(pw->pw_uid, &place, end);
			failure = errno;
		}
		if (prepared != PAM_SUCCESS) {
			failed = 1;
			if (place.directory >= 0)
				mark_failed(pamh, &place);
		}
		if (lease >= 0 && !serves(&place))
			berth_log(pamh, LOG_ERR, "nobody serves in the container of %s, %s", pw->pw_name, place.at);
	} else if (o->debug) {
		berth_log(pamh, LOG_DEBUG, "the container of %s is in place", pw->pw_name);
	}
	if (lease < 0)
		log_failure(pamh, pw, &place, failure);
	int held = lease >= 0 && berth_lease_keep(pamh, lease) == 0;
	if (!held || failed || berth_network_enter(pamh, pw, &place) != 0) {
		berth_network_empty(pamh);
		if (o->debug)
			berth_log(pamh, LOG_DEBUG, "the connection of %s has an empty network", pw->pw_name);
	}
	berth_forget(&place);
	long took = berth_now_ms() - start;
	if (failed) {
		pam_putenv(pamh, "BERTH_PREPARED=failed"); /* so that nobody waits for what does not come */
	} else if (took > SLOW_MS) {
		char variable[64];
		snprintf(variable, sizeof variable, "BERTH_PREPARED=%ld", took);
		pam_putenv(pamh, variable);
	}
	/* A session without its container is berth-session's to refuse. */
	return PAM_SUCCESS;
}
