// SPDX-License-Identifier: Apache-2.0
//
// A process that is gone before anybody who has found it in /proc can signal it: it
// starts the next and ends, over and over. The argument says how many of these there
// are; the default is one.

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void fly(void)
{
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	for (;;) {
		setsid();
		if (fork() > 0)
			_exit(0);
	}
}

int main(int argc, char **argv)
{
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	for (int n = argc > 1 ? atoi(argv[1]) : 1; n > 0; n--)
		if (fork() == 0)
			fly();
	for (;;)
		pause();
}
