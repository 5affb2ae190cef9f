// SPDX-License-Identifier: Apache-2.0
//
// For tests: nosys CALL... -- PROGRAM [ARG...] runs PROGRAM under a kernel that
// lacks the system calls named. "reaped" is one on which whatever pidfd_open(2) is asked
// for has ended and been reaped.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const struct { const char *name; unsigned nr, error; } calls[] = {
		{ "close_range", SYS_close_range, ENOSYS }, { "openat2", SYS_openat2, ENOSYS },
		{ "pidfd_open", SYS_pidfd_open, ENOSYS }, { "reaped", SYS_pidfd_open, ESRCH },
	};
	struct sock_filter code[16] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog filter = { .len = 1, .filter = code };
	int i = 1;

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		int known = 0;
		for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
			if (!strcmp(argv[i], calls[c].name) && filter.len < 14) {
				code[filter.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[c].nr, 0, 1);
				code[filter.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | calls[c].error);
				known = 1;
			}
		if (!known)
			return fprintf(stderr, "nosys: %s is not known\n", argv[i]), 2;
	}
	code[filter.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* Root's filter: a program's special bits stay in force. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0 || i + 1 >= argc)
		return perror("nosys"), 2;
	execvp(argv[i + 1], argv + i + 1);
	return perror(argv[i + 1]), 127;
}
