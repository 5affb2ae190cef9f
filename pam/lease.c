// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM; what it keeps is in sshd's processes of the connection. As: root.
//
// The lease: a shared lock on a file of the container's. The keeper ends its container
// only when it has had the lock for itself. The kernel drops a lock with the last
// descriptor, however the connection ends; here it is closed and never unlocked, because
// the user's sshd, a fork, has the same lock.
//
// The container's root may write in the directory, so nothing in it is followed.

#define _GNU_SOURCE
#include "lease.h"
#include "berth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define DATA "berth_lease"
#define LONGEST_NAME 128
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
/* The pauses between two tries for the lock, in ns. */
#define FIRST_PAUSE 1000000
#define LONGEST_PAUSE 16000000

/* Takes a name, which is followed by the character end, off the text at *at. */
static int take_name(const char **at, char end, char *name)
{
	size_t n = strspn(*at, LETTERS "_.-");
	if (strspn(*at, LETTERS) == 0 || n > LONGEST_NAME || (*at)[n] != end)
		return -1;
	memcpy(name, *at, n);
	name[n] = 0;
	*at += n + 1;
	return 0;
}

/* Reads a link: it is ../profiles/PROFILE/CONTAINER, or means nothing. */
static int read_link(int at, const char *path, char *profile, char *container)
{
	static const char form[] = "../" PROFILES "/";
	char target[sizeof form + 2 * (LONGEST_NAME + 1)];

	ssize_t n = readlinkat(at, path, target, sizeof target);
	if (n < 0)
		return -1;
	target[(size_t)n < sizeof target ? n : 0] = 0;
	const char *rest = target + sizeof form - 1;
	if (strncmp(target, form, sizeof form - 1) != 0 || take_name(&rest, '/', profile) != 0 || take_name(&rest, 0, container) != 0) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/* Whether all of path is root's, and a directory but for its last part: in a directory of
 * root's nobody else can exchange what was looked at. */
static int check_path(int at, const char *path, struct stat *last)
{
	char part[sizeof PROFILES "//" + 2 * LONGEST_NAME];
	size_t n = 0;

	do {
		n += strcspn(path + n, "/");
		snprintf(part, sizeof part, "%.*s", (int)n, path);
		if (fstatat(at, part, last, AT_SYMLINK_NOFOLLOW) != 0)
			return -1;
		if (last->st_uid != 0 || (path[n] && (!S_ISDIR(last->st_mode) || (last->st_mode & 022)))) {
			errno = EPERM;
			return -1;
		}
	} while (path[n++]);
	return 0;
}

static int find(int state, uid_t uid, struct place *p)
{
	char path[sizeof PROFILES "//" + 2 * LONGEST_NAME], profile[LONGEST_NAME + 1], container[LONGEST_NAME + 1];
	struct stat st;

	snprintf(path, sizeof path, USERS "/%lu", (unsigned long)uid);
	snprintf(p->at, sizeof p->at, "%s/%s", STATE, path);
	if (state < 0 || check_path(state, path, &p->link) != 0 || read_link(state, path, profile, container) != 0)
		return -1;
	snprintf(path, sizeof path, PROFILES "/%s/%s", profile, container);
	snprintf(p->at, sizeof p->at, "%s/%s", STATE, path);
	return check_path(state, path, &st) != 0 ? -1 : berth_open_root(state, path);
}

int berth_find(uid_t uid, struct place *p)
{
	int state = berth_open_root(AT_FDCWD, STATE);
	p->directory = find(state, uid, p);
	berth_shut(state);
	return p->directory < 0 ? -1 : 0;
}

void berth_forget(struct place *p)
{
	berth_shut(p->directory);
	p->directory = -1;
}

/* Opens the lease, or makes it. Only to read: that suffices for a lock, and it is the
 * user's sshd that has it, too. */
static int open_lease(int directory)
{
	struct stat st;
	int fd = openat(directory, LEASE, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd >= 0 && fd <= STDERR_FILENO) { /* the host has none of its own: nobody is to write there */
		int high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		berth_shut(fd);
		fd = high;
	}
	if (fd < 0 || fstat(fd, &st) != 0)
		goto failed;
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_nlink > 1) {
		errno = EPERM;
		goto failed;
	}
	/* Whoever can open it can keep it. The caller's umask may have taken rights, too. */
	if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) != 0)
		goto failed;
	return fd;
failed:
	berth_shut(fd);
	return -1;
}

/* Shares the lock. While the keeper has it for itself, it is ending its container.
 * Returns whether that was waited for, or -1. */
static int lock(int fd, long end)
{
	struct timespec pause = { 0, FIRST_PAUSE };
	int waited = 0;

	while (flock(fd, LOCK_SH | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -1;
		if (berth_now_ms() >= end) {
			errno = ETIMEDOUT;
			return -1;
		}
		waited = 1;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < LONGEST_PAUSE)
			pause.tv_nsec *= 2;
	}
	return futimens(fd, NULL) == 0 ? waited : -1; /* until now the container was in use, at least */
}

/* Whether fd is the lease in the directory. */
static int is_lease(int fd, int directory)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && fstatat(directory, LEASE, &b, AT_SYMLINK_NOFOLLOW) == 0 && berth_same(&a, &b);
}

int berth_lease_current(int fd, uid_t uid)
{
	struct place now;
	int yes = berth_find(uid, &now) == 0 && is_lease(fd, now.directory);
	berth_forget(&now);
	return yes;
}

int berth_lease_take(uid_t uid, struct place *p, long end)
{
	struct stat st;

	while (berth_find(uid, p) == 0) {
		int fd = open_lease(p->directory);
		int waited = fd < 0 ? -1 : lock(fd, end);
		if (waited < 0) {
			berth_shut(fd);
			strncat(p->at, "/" LEASE, sizeof p->at - strlen(p->at) - 1);
			return -1;
		}
		/* The file may be gone by now, and after a wait the user may have another container. */
		if (waited ? berth_lease_current(fd, uid) : fstat(fd, &st) == 0 && st.st_nlink > 0)
			return fd;
		berth_shut(fd);
		berth_forget(p);
		if (berth_now_ms() >= end) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
	return -1;
}

int berth_lease_keep(pam_handle_t *pamh, int fd)
{
	if (berth_keep(pamh, DATA, fd) == 0)
		return 0;
	berth_log(pamh, LOG_ERR, "the lease of the container is lost: %m");
	return -1;
}
