// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// What `docker logs` shows. Nobody waits for its reader, which may be stopped. And no
// user can fill it: each has a burst of lines, then one in a while.

#define _GNU_SOURCE
#include "init.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BURST 20
#define REFILL_MS 10000

static int log_fd = 2;
static unsigned long dropped; /* lines that were not written */
static long report_at;        /* when to say so; 0: there are none */

/* A share of the log. Users whose uids fall together share theirs. */
static struct share {
	int used;
	long last;
} shares[4096];

long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void log_open(void)
{
	/* An open file description of our own: O_NONBLOCK is a property of that. */
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		log_fd = fd;
}

static int take_allowance(uid_t uid)
{
	struct share *s = &shares[uid % LENGTH(shares)];
	long now = now_ms(), back = (now - s->last) / REFILL_MS;

	if (back > 0) {
		s->used = s->used > back ? s->used - (int)back : 0;
		s->last = now;
	}
	if (s->used >= BURST)
		return 0;
	s->used++;
	return 1;
}

static void drop_line(void)
{
	if (!dropped++)
		report_at = now_ms() + REFILL_MS;
}

void log_report_dropped(void)
{
	char line[64];
	int n = snprintf(line, sizeof line, "berth-init: %lu lines were not written\n", dropped);

	if (dropped && write(log_fd, line, (size_t)n) == n)
		dropped = 0;
}

void log_tick(long now, long *next)
{
	if (dropped && report_at <= now) {
		log_report_dropped();
		report_at = now + REFILL_MS; /* its reader may still not read */
	}
	if (dropped)
		set_earlier(next, report_at);
}

void logf_uid(uid_t uid, const char *format, ...)
{
	char line[512] = "berth-init: ";
	int n = 12, m;
	va_list list;

	if (uid != UID_NONE && !take_allowance(uid)) {
		drop_line();
		return;
	}
	va_start(list, format);
	m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, list);
	va_end(list);
	n += m < (int)sizeof line - n - 1 ? m : (int)sizeof line - n - 2;
	line[n++] = '\n';
	if (write(log_fd, line, (size_t)n) < 0)
		drop_line(); /* its reader does not read */
}
