// SPDX-License-Identifier: Apache-2.0
//
// Logs lines, with the keeper's log.c, until a pipe that nobody reads is full; says
// how many; then again when it has been read.

#include "init.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	char text[65536];
	long now, next = 0, n;
	int ends[2];

	if (pipe(ends) != 0 || dup2(ends[1], 2) < 0)
		return 1;
	log_open();
	for (int i = 0; i < 10000; i++)
		logf_uid(UID_NONE, "line %d", i);
	log_tick(now_ms(), &next);
	if (next <= now_ms())
		return 2;
	now = next, next = 0;
	log_tick(now, &next); /* there is no room yet */
	if ((n = read(ends[0], text, sizeof text)) <= 0)
		return 3;
	int lines = 0;
	for (long i = 0; i < n; i++)
		lines += text[i] == '\n';
	now = next, next = 0;
	log_tick(now, &next);
	log_tick(now + 1000000, &next); /* it is said once */
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	n = read(ends[0], text, sizeof text - 1);
	text[n > 0 ? n : 0] = 0;
	printf("%d of 10000\n%s", lines, text);
	return 0;
}
