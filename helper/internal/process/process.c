// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-session, berth-session-docker. As: the user; in the second
// with the engine's group as effective gid.
//
// Makes the process safe to read in, before the Go runtime and any other
// thread exist, and does what Go cannot: die by a signal, give memory back.

#define _GNU_SOURCE
#include "process.h"

#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct berth_process berth_process;

void berth_refuse(const char *why)
{
	static const char head[] = "berth: ";
	static const char tail[] = "; nobody was let in\n";
	ssize_t n = write(2, head, sizeof head - 1);
	n = write(2, why, strlen(why));
	n = write(2, tail, sizeof tail - 1);
	(void)n;
	_exit(255);
}

/* The Go runtime takes GODEBUG, GOMEMLIMIT, GOGC and their like from its
 * caller, in a setgid program too (runtime/security_unix.go clears GOTRACEBACK
 * alone). Entries are overwritten, not removed: the runtime finds the auxiliary
 * vector by counting them. */
static void forget_go(void)
{
	static char none[] = "_=";
	for (char **e = environ; e && *e; e++)
		if (!strncmp(*e, "GO", 2) || !strncmp(*e, "CGO_", 4))
			*e = none;
}

static void keep_limits(void)
{
	for (int i = 0; i < BERTH_LIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &berth_process.limits[i]) != 0)
			berth_process.limits[i].rlim_cur = berth_process.limits[i].rlim_max = RLIM_INFINITY;
	/* What this process holds belongs in no core file. Only the soft limit: one
	 * that gives way to the other program must leave it the session's own. */
	struct rlimit none = { 0, berth_process.limits[RLIMIT_CORE].rlim_max };
	setrlimit(RLIMIT_CORE, &none);
}

/* Before the constructors of the programs themselves. */
__attribute__((constructor(101))) static void start(void)
{
	berth_process.umask = umask(077);
	umask(berth_process.umask);
	if (getuid() != geteuid())
		berth_refuse("this program must not be setuid");
	prctl(PR_SET_DUMPABLE, 0);
	close_range(3, ~0U, 0);
	forget_go();
	keep_limits();
}

/* sshd reports an exit-signal only for a forced command that died by one
 * (session.c, session_exit_message). The Go runtime's handlers are bypassed. */
void berth_die(int sig)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t set;
	sigaction(sig, &standard, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	/* To this thread: one that dumps core is not delivered before kill(2) returns. */
	raise(sig);
	/* Stopped by default, or ignored by the kernel: end as a shell would. */
	_exit(128 + sig);
}

static int slim_object(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		if (h->p_type == PT_LOAD && !(h->p_flags & PF_W)) {
			uintptr_t from = (info->dlpi_addr + h->p_vaddr) & ~(uintptr_t)4095;
			madvise((void *)from, info->dlpi_addr + h->p_vaddr + h->p_memsz - from, MADV_DONTNEED);
		}
	}
	return 1; /* the first object is the program itself */
}

/* A session waits for hours with what it took to start it: a TOML decoder, an
 * HTTP client. Their pages are clean and the file's; what is needed again comes
 * back from the page cache. */
int berth_slim(void)
{
	return dl_iterate_phdr(slim_object, NULL);
}
