// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root with the capability KILL.
//
// The kernel makes a process our child when its parent dies. So what a supervisor
// left that died before its session was cleared is found among our children, and
// ended with all below it.

#define _GNU_SOURCE
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 65536

static struct process {
	pid_t pid, parent;
	char is_zombie;
	signed char orphaned; /* an orphan, or below one: 1 yes, -1 no, 0 not known yet */
} processes[MAX_PROCESSES] __attribute__((aligned(4096)));
static size_t process_count;
static int proc_fd = -1;

void orphans_open(void)
{
	proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The kernel lists processes in ascending order (fs/proc/base.c, next_tgid). */
static struct process *find_process(pid_t pid)
{
	size_t low = 0, high = process_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (processes[middle].pid == pid)
			return &processes[middle];
		if (processes[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

ssize_t process_file(const char *name, const char *file, char *buf, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "%s/%s", name, file);
	int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n;
}

/* The name in the second field of /proc/PID/stat may hold anything, parentheses
 * included: what counts stands behind the last one (proc(5)). */
static void add_process(const char *name)
{
	char text[1024], state;
	struct process *p = &processes[process_count];
	const char *rest;

	if (process_count == MAX_PROCESSES || process_file(name, "stat", text, sizeof text) <= 0)
		return;
	if (!(rest = strrchr(text, ')')) || sscanf(rest + 1, " %c %d", &state, &p->parent) != 2)
		return;
	p->pid = atoi(name);
	p->is_zombie = state == 'Z' || state == 'X';
	p->orphaned = 0;
	process_count++;
}

long process_started(pid_t pid)
{
	char name[16], text[1024];
	unsigned long long ticks;
	const char *rest;

	snprintf(name, sizeof name, "%d", (int)pid);
	if (process_file(name, "stat", text, sizeof text) <= 0 || !(rest = strrchr(text, ')')) ||
	    sscanf(rest + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &ticks) != 1)
		return -1;
	return (long)(ticks * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

long boot_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int processes_each(void (*f)(const char *name))
{
	char buf[32768] __attribute__((aligned(8)));
	long n;

	if (lseek(proc_fd, 0, SEEK_SET) != 0)
		return -1;
	while ((n = syscall(SYS_getdents64, proc_fd, buf, sizeof buf)) > 0)
		for (long at = 0; at < n;) {
			struct dirent64 *e = (struct dirent64 *)(buf + at);
			if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
				f(e->d_name);
			at += e->d_reclen;
		}
	return n < 0 ? -1 : 0;
}

/* Is this child of ours left from a session? What runs as root is berth's own. */
static int is_orphan(const struct process *p)
{
	char name[16], text[2048];
	unsigned uid;

	if (p->parent != 1 || session_is_supervisor(p->pid) || sweep_is_child(p->pid))
		return 0;
	snprintf(name, sizeof name, "%d", (int)p->pid);
	if (process_file(name, "status", text, sizeof text) <= 0)
		return 0;
	const char *line = strstr(text, "\nUid:");
	return line && sscanf(line, "\nUid: %u", &uid) == 1 && uid != 0;
}

/* Decides whether p is to end, and with it all between p and what is decided. */
static void mark(struct process *p)
{
	struct process *top = p;
	int steps = 0;
	signed char verdict;

	for (;;) {
		if (top->orphaned) {
			verdict = top->orphaned;
			break;
		}
		if (top->parent <= 1) {
			verdict = is_orphan(top) ? 1 : -1;
			break;
		}
		struct process *up = find_process(top->parent);
		/* The parent has ended meanwhile, or pids that were reused while we
		 * looked form a circle: the next look will tell. */
		if (!up || steps++ > MAX_PROCESSES) {
			verdict = -1;
			break;
		}
		top = up;
	}
	for (struct process *q = p; q && !q->orphaned; q = q->parent > 1 ? find_process(q->parent) : NULL)
		q->orphaned = verdict;
}

static void signal_orphans(int sig)
{
	for (size_t i = 0; i < process_count; i++)
		if (processes[i].orphaned == 1 && !processes[i].is_zombie)
			kill(processes[i].pid, sig);
}

int orphans_kill(void)
{
	int found = 0;

	process_count = 0;
	if (processes_each(add_process) != 0)
		return -1;
	for (size_t i = 0; i < process_count; i++) {
		mark(&processes[i]);
		found += processes[i].orphaned == 1 && !processes[i].is_zombie;
	}
	/* Stopped first: what is being killed cannot fork any more. */
	if (found) {
		signal_orphans(SIGSTOP);
		signal_orphans(SIGKILL);
	}
	/* The smaller this process is, the later the kernel chooses it when memory is
	 * short. That matters where root could not lower its oom_score_adj. */
	madvise(processes, sizeof processes, MADV_DONTNEED);
	return found;
}

/* A process that was found in /proc may have ended before it is signalled, and its child
 * may not have been found: a process that forks and ends, over and over, is never met.
 * kill(-1) is one step for the kernel, which no fork gets past. So for this one call we
 * take a uid that may signal this user's processes and no others. Our saved and real uid
 * are not the user's, who therefore can neither signal nor trace us. */
void user_kill(uid_t uid)
{
	const uid_t nobody = 65534; /* a uid that no user has (package access, Overflow) */

	if (uid == 0 || setresuid(nobody, uid, 0) != 0)
		return; /* a lack of memory; the look in /proc has to do */
	kill(-1, SIGKILL);
	if (setresuid(0, 0, 0) != 0)
		exit(1);
	prctl(PR_SET_DUMPABLE, 0);
}
