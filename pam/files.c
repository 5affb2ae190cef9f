// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM. As: root.
//
// What root keeps for berth: whether it is root's alone, and whether it is of today.

#define _GNU_SOURCE
#include "berth.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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
