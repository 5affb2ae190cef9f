// SPDX-License-Identifier: Apache-2.0
//
// The end of an unused container, with a caller who comes in the moment between the last
// look at the queue and the socket's end: caller_waits() does not see the queue here. In a
// mount namespace of its own.

#define _GNU_SOURCE
#include "init.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct keeper keeper = { .control_listener = -1, .register_listener = -1 };
struct rules rules = { .idle_ms = 1, .on_demand = 1 };
size_t sessions_used;
static int watched;

int caller_waits(int listener) { (void)listener; return 0; }
void servers_start_missing(void) { watched++; }
void unwatch(int fd) { (void)fd; }
long now_ms(void) { static long now; return now += 1000; }
void log_report_dropped(void) {}
void logf_uid(uid_t uid, const char *format, ...)
{
	va_list list;
	(void)uid;
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	puts("");
}

static int call(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
		return -1;
	return fd;
}

int main(void)
{
	long next = 0;
	char byte;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (mkdir("/run/berth", 0755) != 0 || mkdir(PRIVATE, 0700) != 0 || mkdir(SERVE, 0755) != 0)
		return 2;
	keeper.session_listener = listen_at(SOCKET, SOCK_STREAM, 0666);
	lease_open();
	lease_tick(now_ms(), &next); /* the lease is new */
	int caller = call();
	lease_tick(now_ms(), &next);
	printf("let go: %d\n", read(caller, &byte, 1) == 0);
	caller = call();
	int taken = accept(keeper.session_listener, NULL, NULL);
	printf("found the new socket: %d, which is watched: %d\n", taken >= 0, watched);
	close(taken);
	close(caller);
	lease_tick(now_ms(), &next);
	puts("it went on");
	return 1;
}
