// SPDX-License-Identifier: Apache-2.0
//
// Kills at a system call: kill N WHOM COMMAND...
// COMMAND is a PAM application; each program that a child of it executes is a
// worker. The workers' calls that change something are counted, and when the
// Nth begins, WHOM (worker, host) gets SIGKILL before it is carried out. It says
// "killed in TASK at CALL", and ends when all have ended, with "ended after
// COUNT calls". Programs that a worker starts are let go.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)
#define LONGEST 60 /* seconds; after that all are killed */

#define CALL(name) { SYS_##name, #name }
static const struct { unsigned long number; const char *name; } changing[] = {
	CALL(mkdirat), CALL(mknodat), CALL(symlinkat), CALL(linkat), CALL(unlinkat), CALL(renameat2), CALL(openat), CALL(openat2),
	CALL(write), CALL(writev), CALL(pwrite64), CALL(pwritev), CALL(copy_file_range), CALL(sendfile), CALL(splice), CALL(ftruncate), CALL(truncate), CALL(fallocate),
	CALL(fchmod), CALL(fchmodat), CALL(fchown), CALL(fchownat), CALL(utimensat), CALL(flock), CALL(fsync), CALL(fdatasync), CALL(syncfs),
	CALL(setxattr), CALL(lsetxattr), CALL(fsetxattr), CALL(removexattr), CALL(lremovexattr), CALL(fremovexattr),
#ifdef SYS_renameat
	CALL(renameat),
#endif
#ifdef SYS_open /* the calls of older architectures */
	CALL(open), CALL(creat), CALL(mkdir), CALL(rmdir), CALL(mknod), CALL(symlink), CALL(link), CALL(unlink), CALL(rename), CALL(chmod), CALL(chown), CALL(lchown),
#endif
};

enum kind { HOST, CHILD, WORKER, OTHER };
static struct tracee { pid_t tid, group; enum kind kind; } tracees[1024];
static int used, count;

static struct tracee *find(pid_t tid)
{
	for (int i = 0; i < used; i++)
		if (tracees[i].tid == tid)
			return &tracees[i];
	return NULL;
}

static struct tracee *add(pid_t tid, pid_t group, enum kind kind)
{
	if (used == sizeof tracees / sizeof *tracees)
		abort();
	tracees[used] = (struct tracee){ tid, group, kind };
	return &tracees[used++];
}

/* Whoever is new: a thread of somebody known, a child of the host, or another. */
static struct tracee *meet(pid_t tid)
{
	char path[64], line[256];
	pid_t group = 0, parent = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		sscanf(line, "Tgid: %d", &group);
		sscanf(line, "PPid: %d", &parent);
	}
	if (f)
		fclose(f);
	struct tracee *leader = find(group);
	if (leader)
		return add(tid, group, leader->kind);
	return add(tid, group, parent == tracees[0].tid ? CHILD : OTHER);
}

/* The name of the call that begins, if it changes something. */
static const char *change(pid_t tid)
{
	struct __ptrace_syscall_info call;
	char path[64], file[64];
	unsigned long long flags = O_CREAT;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof call, &call) <= 0 || call.op != PTRACE_SYSCALL_INFO_ENTRY)
		return NULL;
	if (call.entry.nr == SYS_openat)
		flags = call.entry.args[2];
	else if (call.entry.nr == SYS_openat2)
		flags = (unsigned long long)ptrace(PTRACE_PEEKDATA, tid, call.entry.args[2], NULL);
	if (!(flags & (O_CREAT | O_TRUNC)))
		return NULL;
	/* A runtime wakes its own threads by writing to a descriptor without a file. */
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)tid, (int)call.entry.args[0]);
	ssize_t n = call.entry.nr == SYS_write ? readlink(path, file, sizeof file - 1) : 0;
	if (n > 0 && !strncmp(file, "anon_inode:", 11))
		return NULL;
	for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
		if (changing[i].number == call.entry.nr)
			return changing[i].name;
	return NULL;
}

/* A worker's second argument says what it was sent for. */
static void tell(pid_t group, const char *call)
{
	char path[64], text[4096] = "";
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)group);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f)
		fclose(f);
	printf("killed in %s at %s\n", n > strlen(text) + 1 ? text + strlen(text) + 1 : "?", call);
}

static void strike(struct tracee *t, const char *call, int whom)
{
	pid_t host = tracees[0].tid;
	tell(t->group, call);
	if (whom == WORKER) {
		kill(t->group, SIGKILL);
		return;
	}
	kill(host, SIGKILL);
	while (waitpid(host, NULL, __WALL) < 0 && errno == EINTR) /* dead before the worker goes on */
		;
}

int main(int argc, char **argv)
{
	int begin[2], status;
	if (argc < 4 || pipe2(begin, O_CLOEXEC) != 0)
		return 2;
	int n = atoi(argv[1]), whom = strcmp(argv[2], "host") ? WORKER : HOST;
	pid_t host = fork();
	if (host == 0) {
		char c;
		if (read(begin[0], &c, 1) == 1)
			execv(argv[3], argv + 3);
		_exit(127);
	}
	add(host, host, HOST);
	if (host < 0 || ptrace(PTRACE_SEIZE, host, 0, OPTIONS) != 0 || write(begin[1], "", 1) != 1)
		return 2;
	alarm(LONGEST);
	for (pid_t tid; (tid = waitpid(-1, &status, __WALL)) > 0;) {
		if (!WIFSTOPPED(status))
			continue;
		struct tracee *t = find(tid);
		int sig = WSTOPSIG(status), event = status >> 16;
		const char *call = NULL;
		if (!t)
			t = meet(tid);
		if (t->kind == OTHER) {
			ptrace(PTRACE_DETACH, tid, 0, event ? 0 : sig);
			continue;
		}
		if (event == PTRACE_EVENT_EXEC && t->kind == CHILD)
			t->kind = WORKER;
		if (sig == (SIGTRAP | 0x80))
			call = change(tid);
		if (call && t->kind == WORKER && ++count == n)
			strike(t, call, whom);
		ptrace(t->kind == WORKER ? PTRACE_SYSCALL : PTRACE_CONT, tid, 0, event || sig == (SIGTRAP | 0x80) ? 0 : sig);
	}
	printf("ended after %d calls\n", count);
	return 0;
}
