// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM. As: root.
//
// Reads what a worker says, and believes little of it: it may have crashed, be of
// another version, or no worker at all.

#define _GNU_SOURCE
#include "answer.h"

#include <errno.h>
#include <poll.h>
#include <security/pam_ext.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define MOST_LINES 40

/* The number that is all of text, or -1. */
static int digits(const char *text)
{
	int n = *text ? 0 : -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > 9999)
			return -1;
		n = n * 10 + (*text - '0');
	}
	return n;
}

/* The line goes to a log and a terminal: no control character goes along, be it
 * one byte or, in UTF-8, two (U+0080 to U+009F). */
static void clean(unsigned char *text, size_t n)
{
	text[n] = 0;
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\t')
			text[i] = ' ';
		else if (text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
		else if (text[i] == 0xc2 && text[i + 1] >= 0x80 && text[i + 1] <= 0x9f)
			text[i] = text[i + 1] = '?';
}

const char *berth_floor(int error)
{
	return error == ENOSYS ? " (berth needs Linux 5.11 or newer)" : "";
}

static void take_line(struct reader *r)
{
	static const struct { char mark; int level; } marks[] = { { 'W', LOG_WARNING }, { 'I', LOG_INFO }, { 'D', LOG_DEBUG } };
	int level = LOG_ERR, cut = r->used == sizeof r->line - 1;
	const char *text = r->line;

	clean((unsigned char *)r->line, r->used);
	r->used = 0;
	int code = digits(text[0] && !cut ? text + 1 : "");
	if (text[0] == 'R' && code >= 0 && code < _PAM_RETURN_VALUES) {
		r->result = code;
		return;
	}
	if (text[0] == 'X' && code > 0) {
		errno = code;
		berth_log(r->pamh, LOG_ERR, "the worker %s could not be run: %m%s", r->self, berth_floor(code));
		r->result = PAM_SYSTEM_ERR;
		return;
	}
	if (!text[0] || r->lines++ >= MOST_LINES)
		return;
	if (text[0] == 'U') {
		if (!r->o->silent && text[1] && !r->told++)
			berth_tell(r->pamh, PAM_TEXT_INFO, "%s", text + 1);
		return;
	}
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (text[0] == marks[i].mark)
			level = marks[i].level;
	if (level == LOG_DEBUG && !r->o->debug)
		return;
	/* What has no mark is a crashing runtime's. */
	berth_log(r->pamh, level, "%s", strchr("EWID", text[0]) ? text + 1 : text);
}

long berth_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int berth_answer(struct reader *r, int fd)
{
	for (;;) {
		char buf[1024];
		struct pollfd p = { .fd = fd, .events = POLLIN };
		long left = r->end - berth_now_ms();
		if (left <= 0)
			return 0;
		int n = poll(&p, 1, (int)left);
		if (n < 0 && errno != EINTR)
			return 0;
		if (n <= 0)
			continue;
		ssize_t got = read(fd, buf, sizeof buf);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return 1;
		for (ssize_t i = 0; i < got; i++) {
			if (buf[i] == '\n')
				take_line(r);
			else if (r->used < sizeof r->line - 1) /* what is longer is cut */
				r->line[r->used++] = buf[i];
			if (r->result >= 0)
				return 1;
		}
	}
}

void berth_answer_rest(struct reader *r)
{
	if (r->line[0] != 'R') /* a result that is not whole is none */
		take_line(r);
}
