// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM. As: root. What it enters holds for all of sshd's processes of
// the connection, which are this one and its later children.
//
// sshd dials and listens for port forwarding in the user's own process, which is forked
// after the session was opened, so the network that this process is in then is what all
// forwards of the connection reach. In the order of sshd's stack:
//
//   1. the first line leaves the host's network for an empty one, if users may forward
//      ports here at all: where the line `container` is missing, that is what they get;
//   2. the line `container` goes back, because what it starts may need the network;
//   3. at its end it enters the container's network, or else, always, an empty one.
//
// The container's network is found by its keeper, the process that listens on the socket
// `control`. Root of the container could put another socket there, so it is not enough that
// the listener is root: it must be a process that has this very directory where a keeper has it.

#define _GNU_SOURCE
#include "berth.h"
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define DATA "berth_network"
#define OWN_NETWORK "/proc/thread-self/ns/net"
#define FIRST_NETWORK "/proc/1/ns/net"

/* How long a socket may have no room for one more caller, and the pause between two
 * tries, in ms. */
#define BUSY_MS 1000
#define BUSY_PAUSE_MS 2

int berth_reach(const struct place *p, const char *name)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int file = openat(p->directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return -1;
	snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d", file);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
		berth_shut(fd);
		fd = -1;
	}
	berth_shut(file);
	return fd;
}

/* The same, but it waits a while for room in the queue. */
static int reach_patiently(const struct place *p, const char *name)
{
	const struct timespec pause = { 0, BUSY_PAUSE_MS * 1000000L };
	int fd;

	for (long end = berth_now_ms() + BUSY_MS; (fd = berth_reach(p, name)) < 0 && errno == EAGAIN && berth_now_ms() < end;)
		nanosleep(&pause, NULL);
	return fd;
}

/* The process that listens for the container's keeper, or -1 with errno. Users cannot
 * reach `control`, so they cannot fill its queue either. */
static pid_t listener(const struct place *p)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	int fd = reach_patiently(p, CONTROL);
	if (fd < 0 && errno != EAGAIN)
		fd = reach_patiently(p, SOCKET);
	if (fd < 0)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		peer.pid = -1;
	berth_shut(fd);
	if (peer.pid != -1 && (peer.uid != 0 || peer.pid == 0)) {
		errno = EPERM; /* not root, or a process that cannot be seen from here */
		return -1;
	}
	return peer.pid;
}

/* Whether the process with the /proc directory proc has the container's directory where a
 * keeper has it. Root of the container chooses what lies on the way there, so the look-up
 * never leaves the process's own root. */
static int is_container(int proc, const struct place *p)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	struct stat ours, its;
	int root = openat(proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int seen = root < 0 ? -1 : (int)syscall(SYS_openat2, root, SERVE, &how, sizeof how);
	int yes = seen >= 0 && fstat(seen, &its) == 0 && fstat(p->directory, &ours) == 0 && berth_same(&ours, &its);
	if (seen >= 0 && !yes)
		errno = EPERM;
	berth_shut(seen);
	berth_shut(root);
	return yes;
}

/* Opens the network of the container, or fails with errno. The kernel names the listener even
 * when it is dead, so its pid may be another process's by now. Therefore everything is asked
 * through one descriptor of /proc/PID, which never leads to another process. */
static int open_network(const struct place *p)
{
	char path[32];
	pid_t pid = listener(p);
	if (pid < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int network = proc >= 0 && is_container(proc, p) ? openat(proc, "ns/net", O_RDONLY | O_CLOEXEC) : -1;
	berth_shut(proc);
	return network;
}

/* Enters a network, unless it is this process's own or that of process 1. On a host that is
 * itself a container root may not be allowed to see the latter. */
static int enter(int network)
{
	struct stat target, own, first;

	if (fstat(network, &target) != 0 || stat(OWN_NETWORK, &own) != 0)
		return -1;
	if (berth_same(&target, &own) || (stat(FIRST_NETWORK, &first) == 0 && berth_same(&target, &first))) {
		errno = EXDEV;
		return -1;
	}
	if (setns(network, CLONE_NEWNET) != 0 || stat(OWN_NETWORK, &own) != 0)
		return -1;
	if (!berth_same(&target, &own)) {
		errno = ESTALE;
		return -1;
	}
	return 0;
}

int berth_network_enter(pam_handle_t *pamh, const struct passwd *pw, const struct place *p)
{
	int network = open_network(p);
	int result = network < 0 ? -1 : enter(network);
	berth_shut(network);
	if (result == 0)
		return 0;
	if (errno == EXDEV)
		berth_log(pamh, LOG_ERR, "the container of %s has no network of its own, %s", pw->pw_name, p->at);
	else
		berth_log(pamh, LOG_ERR, "the network of the container of %s cannot be entered, %s: %m", pw->pw_name, p->at);
	return -1;
}

void berth_network_empty(pam_handle_t *pamh)
{
	if (unshare(CLONE_NEWNET) == 0)
		return;
	berth_log(pamh, LOG_CRIT, "unshare(2): %m: the process cannot leave the host's network, and ends");
	_exit(1);
}

/* Making a network takes 0.4 ms, and a hundred times that while others are being removed.
 * This one is shared, but no interface in it is up. */
static int enter_nowhere(void)
{
	int run = berth_open_root(AT_FDCWD, RUN);
	int network = run < 0 ? -1 : openat(run, NOWHERE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int result = network < 0 ? -1 : enter(network);
	berth_shut(network);
	berth_shut(run);
	return result;
}

void berth_network_leave(pam_handle_t *pamh)
{
	int here = open(OWN_NETWORK, O_RDONLY | O_CLOEXEC);

	/* Even without a way back it must be left. */
	if (here < 0 || berth_keep(pamh, DATA, here) != 0)
		berth_log(pamh, LOG_ERR, "there will be no way back to the host's network: %m");
	if (enter_nowhere() != 0)
		berth_network_empty(pamh);
}

int berth_network_back(pam_handle_t *pamh)
{
	int before;

	if (!berth_kept(pamh, DATA, &before))
		return 0;
	if (before < 0 || setns(before, CLONE_NEWNET) != 0)
		berth_log(pamh, LOG_ERR, "cannot return to the host's network: %m");
	berth_keep(pamh, DATA, -1);
	return 1;
}
