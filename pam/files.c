// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM. As: root.
//
// What root keeps for berth: whether nobody else can write it, and whether it is recent enough.
// And the descriptors that a connection keeps.

#define _GNU_SOURCE
#include "berth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void berth_shut(int fd)
{
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
}

int berth_open_root(int at, const char *name)
{
	struct stat st;
	int fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_uid != 0 || (st.st_mode & 022))) {
		close(fd);
		errno = EPERM;
		return -1;
	}
	return fd;
}

#define FRESH 600 /* seconds */

static int later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

int berth_fresh(const struct stat *made, const char *const *sources)
{
	struct stat source;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (later(&made->st_mtim, &now) || made->st_mtim.tv_sec + FRESH < now.tv_sec)
		return 0;
	for (; *sources; sources++)
		if (stat(*sources, &source) == 0 && later(&source.st_mtim, &made->st_mtim))
			return 0;
	return 1;
}

int berth_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* What the connection keeps, and what file it was. */
struct kept {
	int fd;
	struct stat file;
};

/* Whether it is still open: the calling program may have closed it and used its number again. */
static int is_there(const struct kept *k)
{
	struct stat st;
	return fstat(k->fd, &st) == 0 && berth_same(&st, &k->file);
}

static void let_go(pam_handle_t *pamh, void *data, int status)
{
	struct kept *k = data;

	(void)pamh;
	(void)status;
	if (is_there(k))
		close(k->fd);
	free(k);
}

int berth_keep(pam_handle_t *pamh, const char *name, int fd)
{
	struct stat st;
	struct kept *k = fd >= 0 && fstat(fd, &st) == 0 ? malloc(sizeof *k) : NULL;
	if (k)
		*k = (struct kept){ fd, st };
	int result = pam_set_data(pamh, name, k, k ? let_go : NULL);
	if (fd < 0 || (k && result == PAM_SUCCESS))
		return 0;
	free(k);
	close(fd);
	errno = ENOMEM;
	return -1;
}

int berth_kept(pam_handle_t *pamh, const char *name, int *fd)
{
	const void *data = NULL;

	if (pam_get_data(pamh, name, &data) != PAM_SUCCESS || !data)
		return 0;
	const struct kept *k = data;
	*fd = is_there(k) ? k->fd : -1;
	return 1;
}
