// SPDX-License-Identifier: Apache-2.0
//
// A process that is gone before anybody who has found it in /proc can signal it: it
// starts the next and ends, over and over.

#include <signal.h>
#include <unistd.h>

int main(void)
{
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	if (fork() == 0) {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		for (;;) {
			setsid();
			if (fork() > 0)
				_exit(0);
		}
	}
	for (;;)
		pause();
}
