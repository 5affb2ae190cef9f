// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-session, berth-session-exec. As: the user; the second has
// given up the engine's group by now (prelude.c, whose constructor is the first).
//
// What must be done or found out before the Go runtime starts: that takes orders
// from the environment, raises a limit, and dies with a page of its own words where
// the kernel or a limit does not give it what it needs.

#include "built.h"
#include "start.h"

#include <errno.h>
#include <link.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#error "berth needs the kernel headers of Linux 5.11 or newer"
#endif

struct rlimit berth_limits[RLIM_NLIMITS];
int berth_low_limits;

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

static struct {
	char id[24], file[160];
	enum berth_progress progress;
} session;

void berth_session(const char *id, const char *file, enum berth_progress progress)
{
	snprintf(session.id, sizeof session.id, "%s", id);
	snprintf(session.file, sizeof session.file, "%s", file);
	session.progress = progress;
}

/* The id that package sessionlog would have made. */
static void make_id(void)
{
	const char *connection = getenv("BERTH_CONNECTION");
	unsigned own = 0;
	int known = connection && strlen(connection) == 8 && strspn(connection, "0123456789abcdef") == 8;

	if (getrandom(&own, sizeof own, GRND_NONBLOCK) < 0)
		own = (unsigned)getpid();
	snprintf(session.id, sizeof session.id, "%s%s%08x", known ? connection : "", known ? "-" : "", own);
}

/* Tells the user and the log why there is no session, as packages login and
 * sessionlog do, which need Go. Whoever removes the session's file writes its end. */
__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const char *format, ...)
{
	char why[512];
	unsigned long uid = getuid();
	static atomic_flag refused = ATOMIC_FLAG_INIT;
	va_list list;

	/* Several threads may get no further one at once: the first says so, and ends all. */
	while (atomic_flag_test_and_set(&refused))
		pause();
	va_start(list, format);
	vsnprintf(why, sizeof why, format, list);
	va_end(list);
	if (!*session.id)
		make_id();
	openlog("berth-session", LOG_PID, LOG_AUTHPRIV);
	if (session.progress == BERTH_NOTHING)
		syslog(LOG_INFO, "session requested id=%s uid=%lu", session.id, uid);
	if (session.progress != BERTH_COMPLETE && (!*session.file || unlink(session.file) == 0 || errno != ENOENT))
		syslog(session.progress == BERTH_RUNNING ? LOG_WARNING : LOG_ERR, "session %s id=%s uid=%lu status=255 reason=\"%s\"",
			session.progress == BERTH_RUNNING ? "lost" : "failed", session.id, uid, why);
	dprintf(2, "berth: %s; please tell the administrator (id %s)\n", why, session.id);
	_exit(255);
}

/* The limits that Go may not be able to live under, by their names in limits.conf(5). */
static const struct { int resource; const char *name; rlim_t unit, plenty; } needed[] = {
	{ RLIMIT_AS, "as", 1024, RLIM_INFINITY },
	{ RLIMIT_DATA, "data", 1024, RLIM_INFINITY },
	{ RLIMIT_NPROC, "nproc", 1, 10000 }, /* of processes and threads of the user's, wherever */
	{ RLIMIT_NOFILE, "nofile", 1, 10000 },
};

#define NEEDED (sizeof needed / sizeof *needed)

static char low[256]; /* those of them that may come to be felt */

/* The linker has the Go runtime come here (start_cgo.go). When it gets no thread, it
 * fills the user's screen and aborts. */
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	int error = __real_pthread_create(thread, attr, run, arg);
	/* As runtime/cgo itself: what runs out may come back. */
	for (int try = 1; error == EAGAIN && try <= 20; try++) {
		usleep((useconds_t)try * 1000);
		error = __real_pthread_create(thread, attr, run, arg);
	}
	if (error == EAGAIN)
		refuse("this host has no further thread for your session%s%s%s", *low ? ": your resource limits are " : "", low, *low ? ", see limits.conf(5)" : "");
	return error;
}

static void *wait_and_end(void *gate)
{
	pthread_mutex_lock(gate);
	pthread_mutex_unlock(gate);
	return NULL;
}

/* Whether there is room for what a session takes: it was measured to have 1.26 GiB of
 * addresses and 40 MiB of data besides its 8 threads (VmPeak, VmData); there may be
 * a getent(1), too. What is taken here is free again when Go asks for it. A limit on
 * data below the program's own 34 MiB ends it before this. */
static int room(void)
{
	const size_t addresses = 1280UL << 20, data = 40UL << 20;
	const int most = 10, files = 32;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	pthread_t threads[10];
	struct rlimit l;
	int n = 0, held;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_max < (rlim_t)files)
		return 0;
	void *reserved = mmap(NULL, addresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *used = mmap(NULL, data, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	held = reserved != MAP_FAILED && used != MAP_FAILED;
	pthread_mutex_lock(&gate);
	while (held && n < most && __real_pthread_create(&threads[n], NULL, wait_and_end, &gate) == 0)
		n++;
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	if (reserved != MAP_FAILED)
		munmap(reserved, addresses);
	if (used != MAP_FAILED)
		munmap(used, data);
	return n == most;
}

/* The soft limits are raised as far as they go: the session has the caller's in the
 * container (process.go). */
static void check_limits(void)
{
	size_t used = 0;

	for (size_t i = 0; i < NEEDED; i++) {
		struct rlimit l;
		if (getrlimit(needed[i].resource, &l) != 0)
			continue;
		l.rlim_cur = l.rlim_max;
		if (needed[i].resource != RLIMIT_NOFILE) /* Go's own */
			setrlimit(needed[i].resource, &l);
		if (l.rlim_max >= needed[i].plenty)
			continue;
		berth_low_limits = 1;
		used += (size_t)snprintf(low + used, sizeof low - used, "%s%s %llu", used ? ", " : "", needed[i].name,
			(unsigned long long)(l.rlim_max / needed[i].unit));
	}
	/* With time used up the kernel ends a session; Go would say why on a page. */
	struct rlimit time;
	if (getrlimit(RLIMIT_CPU, &time) == 0) {
		time.rlim_cur = time.rlim_max;
		setrlimit(RLIMIT_CPU, &time);
	}
	if (berth_low_limits && !room())
		refuse("no session can start within your resource limits (%s), which limits.conf(5) sets", low);
}

__attribute__((constructor(102))) static void start(void)
{
	forget_go();
	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		getrlimit(i, &berth_limits[i]);
	/* What the caller left open is nobody's after us. */
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
		refuse("this host lacks close_range(2): berth needs Linux 5.11 or newer (%s)", strerror(errno));
	/* Threads would reserve 64 MiB each, against a limit on addresses, for a heap of
	 * C's that none of them uses. */
	mallopt(M_ARENA_MAX, 1);
	check_limits();
}

int berth_restore_limits(void)
{
	int failed = 0;
	for (size_t i = 0; i < NEEDED; i++)
		if (needed[i].resource != RLIMIT_NOFILE)
			failed |= setrlimit(needed[i].resource, &berth_limits[needed[i].resource]);
	return failed | setrlimit(RLIMIT_CPU, &berth_limits[RLIMIT_CPU]);
}

static int find_relro(struct dl_phdr_info *program, size_t size, void *found)
{
	(void)size;
	for (int i = 0; i < program->dlpi_phnum; i++)
		if (program->dlpi_phdr[i].p_type == PT_GNU_RELRO)
			*(struct berth_range *)found = (struct berth_range){
				.from = program->dlpi_addr + program->dlpi_phdr[i].p_vaddr,
				.to = program->dlpi_addr + program->dlpi_phdr[i].p_vaddr + program->dlpi_phdr[i].p_memsz,
			};
	return 1; /* the program itself comes first */
}

struct berth_range berth_relro(void)
{
	struct berth_range range = { 0, 0 };
	dl_iterate_phdr(find_relro, &range);
	return range;
}
