// SPDX-License-Identifier: Apache-2.0
//
// Makes system calls, and prints for each what came of it: "ok", the error's name, or
// the signal that ended the process. Arguments are such that nothing comes of a call
// that is let through.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long new_socket(int family, int type, int protocol) { return socket(family, type, protocol); }
static long io_uring(void) { return syscall(SYS_io_uring_setup, 1, NULL); }
static long vsock(void) { return new_socket(AF_VSOCK, SOCK_STREAM, 0); }
static long alg(void) { return new_socket(AF_ALG, SOCK_SEQPACKET, 0); }
static long packet(void) { return new_socket(AF_PACKET, SOCK_RAW, 0); }
static long audit(void) { return new_socket(AF_NETLINK, SOCK_RAW, 9); }
static long vsock_pair(void) { int fds[2]; return socketpair(AF_VSOCK, SOCK_STREAM, 0, fds); }
static long user_faults(void) { return syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */); }
static long add_a_key(void) { return syscall(SYS_add_key, "user", "berth", "x", 1, KEY_SPEC_PROCESS_KEYRING); }
static long request_a_key(void) { return syscall(SYS_request_key, "user", "none", NULL, 0); }
static long ask_for_a_key(void) { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1); }
static long load_bpf(void) { return syscall(SYS_bpf, 5, NULL, 0); }
static long perf(void) { return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0); }
static long user_namespace(void) { return unshare(CLONE_NEWUSER); }
static long enter_namespace(void) { return syscall(SYS_setns, -1, 0); }
static long mount_nothing(void) { return syscall(SYS_mount, NULL, NULL, NULL, 0, NULL); }
static long open_tree(void) { return syscall(SYS_open_tree, -1, NULL, 0); }
static long by_handle(void) { return syscall(SYS_open_by_handle_at, -1, NULL, 0); }
static long swap(void) { return syscall(SYS_swapon, NULL, 0); }
static long restart(void) { return syscall(SYS_reboot, 0, 0, 0, NULL); }
static long take_descriptor(void) { return syscall(SYS_pidfd_getfd, -1, 0, 0); }
static long executable_data(void) { return syscall(SYS_personality, 0x400000); }

static long clone_namespace(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long unix_socket(void) { return new_socket(AF_UNIX, SOCK_STREAM, 0); }
static long unix_pair(void) { int fds[2]; return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds); }
static long inet(void) { return new_socket(AF_INET, SOCK_STREAM, 0); }
static long inet6(void) { return new_socket(AF_INET6, SOCK_DGRAM, 0); }
static long routes(void) { return new_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0); }
static long traced(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }
static long fixed_addresses(void) { return syscall(SYS_personality, 0x40000); }
static long clone_in_memory(void) { return syscall(SYS_clone3, NULL, 0); }

#ifdef __x86_64__
static long x32(void) { return syscall(0x40000000 | SYS_getpid); }

/* By a call of 32-bit programs, whose arguments lie in memory. */
static long vsock_32(void)
{
	uint32_t *args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int result;

	args[0] = AF_VSOCK;
	args[1] = SOCK_STREAM;
	args[2] = 0;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(102 /* socketcall */), "b"(1 /* SYS_SOCKET */), "c"(args)
			 : "memory", "r8", "r9", "r10", "r11");
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}
#endif

static const struct {
	const char *name;
	long (*make)(void);
} calls[] = {
	{ "io_uring", io_uring }, { "vsock", vsock }, { "alg", alg }, { "packet", packet }, { "audit", audit }, { "vsock-pair", vsock_pair },
	{ "userfaultfd", user_faults }, { "add_key", add_a_key }, { "request_key", request_a_key }, { "keyctl", ask_for_a_key },
	{ "bpf", load_bpf }, { "perf", perf }, { "unshare", user_namespace }, { "clone", clone_namespace }, { "setns", enter_namespace },
	{ "mount", mount_nothing }, { "open_tree", open_tree }, { "open_by_handle_at", by_handle }, { "swapon", swap }, { "reboot", restart },
	{ "pidfd_getfd", take_descriptor }, { "personality", executable_data },
#ifdef __x86_64__
	{ "x32", x32 }, { "vsock-32", vsock_32 },
#endif
	{ "unix", unix_socket }, { "unix-pair", unix_pair }, { "inet", inet }, { "inet6", inet6 }, { "routes", routes }, { "ptrace", traced },
	{ "fixed-addresses", fixed_addresses }, { "clone3", clone_in_memory },
};

int main(void)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		int status;

		fflush(stdout);
		if (fork() == 0) {
			long result = calls[i].make();

			printf("%s %s\n", calls[i].name, result < 0 ? strerrorname_np(errno) : "ok");
			fflush(stdout);
			_exit(0);
		}
		if (wait(&status) < 0)
			return 1;
		if (WIFSIGNALED(status))
			printf("%s SIG%s\n", calls[i].name, sigabbrev_np(WTERMSIG(status)));
	}
	return 0;
}
