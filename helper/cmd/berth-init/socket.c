// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.

#define _GNU_SOURCE
#include "init.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* How many callers may wait while no server runs; the kernel lowers it to
 * net.core.somaxconn. */
#define BACKLOG 4096

/* Makes a socket that listens at path. It appears there once it listens, not before. */
int listen_at(const char *path, int type, mode_t mode)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char next[sizeof addr.sun_path];
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(next, sizeof next, "%s.new", path);
	memcpy(addr.sun_path, next, sizeof next);
	unlink(next);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, BACKLOG) != 0 ||
	    chmod(next, mode) != 0 || rename(next, path) != 0) {
		logf_uid(UID_NONE, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

size_t frame_make(char *frame, size_t size, char kind, size_t n, const char *const *fields)
{
	size_t at = 5;

	for (size_t i = 0; i < n; i++) {
		uint32_t length = (uint32_t)strlen(fields[i]), big = htonl(length);
		if (at + sizeof big + length > size)
			return 0;
		memcpy(frame + at, &big, sizeof big);
		memcpy(frame + at + sizeof big, fields[i], length);
		at += sizeof big + length;
	}
	uint32_t body = htonl((uint32_t)(at - 5));
	frame[0] = kind;
	memcpy(frame + 1, &body, sizeof body);
	return at;
}

/* Closes a connection unless its other end is root: of the host if from_host is set,
 * else of the container. A process of the host has no pid in this pid namespace. */
void close_unless_root(int *fd, int from_host, pid_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (*fd < 0)
		return;
	if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0 || (peer.pid == 0) != from_host) {
		close(*fd);
		*fd = -1;
		return;
	}
	if (pid)
		*pid = peer.pid;
}
