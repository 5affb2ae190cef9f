// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// The keeper goes by two of the rules; package rules (helper/internal/link) has them all.
// They are read at the start and at each renewal.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct rules rules;

/* As package rootfile does. */
ssize_t root_file_read(const char *path, char *buf, size_t size)
{
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0)
		n = -1;
	else if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_mode & 022 || st.st_size >= (off_t)size)
		errno = EPERM;
	else
		n = pread(fd, buf, size - 1, 0);
	int failure = errno;
	close(fd);
	errno = failure;
	buf[n > 0 ? n : 0] = 0;
	return n;
}

/* The number behind "name=" at the beginning of a line, or otherwise. */
static long number_of(const char *text, const char *name, long otherwise)
{
	size_t n = strlen(name);

	for (const char *at = text; (at = strstr(at, name)); at += n)
		if ((at == text || at[-1] == '\n') && at[n] == '=')
			return strtol(at + n + 1, NULL, 10);
	return otherwise;
}

void rules_read(void)
{
	static char text[65536];

	/* Without rules nobody is served: the server reads them, too, and says why. */
	if (root_file_read(RULES, text, sizeof text) < 0)
		return;
	long idle = number_of(text, "idle", 0);
	rules.idle_ms = idle > 0 ? idle * 1000 : 0;
	rules.on_demand = rules.idle_ms || number_of(text, "spares", 1) == 0;
}
