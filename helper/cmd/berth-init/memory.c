// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root with the capability KILL.
//
// When memory is short the kernel ends single processes, the largest first. That is
// right when one process has taken it. But when a user has taken it with many small
// ones, with shared memory or with files in a tmpfs, others lose their sessions first.
// So before the memory is full, and only if the kernel would choose wrongly, all
// sessions of the user who has taken most are ended, and what they leave is removed.

#define _GNU_SOURCE
#include "init.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

/* From here on it acts, in percent of the limit. Killed processes need time to go. */
#define FULL 80
/* The fastest that memory is taken, in MiB per millisecond: by it we know when to
 * look again. */
#define FASTEST 1.5

/* A user who has less than the limit divided by this is left alone. */
#define LEAST_SHARE 10
/* After an act: memory comes back as processes end. */
#define PAUSE_MS 250

/* What a process costs the kernel, in KiB, beside what its status says: stacks,
 * descriptors, accounting (measured with 3,000 sleeps). */
#define PROCESS_KIB 48

static int usage = -1, statistics = -1;
static unsigned long long limit; /* bytes; 0: none */
static unsigned long long taken_kib;
static long next_look;

static struct taker {
	uid_t uid;
	unsigned long long kib;
} takers[1024];
static size_t n_takers;

static unsigned long long number_at(int fd)
{
	char text[64];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = 0;
	return strtoull(text, NULL, 10); /* "max" is 0 */
}

/* The container's own control group, where the engine mounts it. */
void memory_open(void)
{
	static const struct { const char *usage, *limit, *statistics; } places[] = {
		{ "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat" },
		{ "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.stat" },
	};

	for (size_t i = 0; i < LENGTH(places) && usage < 0; i++) {
		int fd = open(places[i].limit, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		limit = number_at(fd);
		close(fd);
		if (limit >> 50) /* as good as none */
			limit = 0;
		usage = open(places[i].usage, O_RDONLY | O_CLOEXEC);
		statistics = open(places[i].statistics, O_RDONLY | O_CLOEXEC);
	}
}

static unsigned long long field(const char *text, const char *name)
{
	const char *at = text;
	size_t n = strlen(name);

	while ((at = strstr(at, name))) {
		if ((at == text || at[-1] == '\n') && (at[n] == ' ' || at[n] == '\t'))
			return strtoull(at + n, NULL, 10);
		at += n;
	}
	return 0;
}

/* How much of the limit is taken by what the kernel cannot drop, in percent. */
static unsigned taken(void)
{
	static char text[8192];
	unsigned long long used = number_at(usage), files;
	ssize_t n = pread(statistics, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = 0;
	files = field(text, "inactive_file") + field(text, "active_file");
	used = used > files ? used - files : 0;
	taken_kib = used / 1024;
	return (unsigned)(used * 100 / limit);
}

static void add(uid_t uid, unsigned long long kib)
{
	size_t i = 0;

	while (i < n_takers && takers[i].uid != uid)
		i++;
	if (i == LENGTH(takers))
		return;
	if (i == n_takers)
		takers[n_takers++] = (struct taker){ .uid = uid };
	takers[i].kib += kib;
}

/* The process that the kernel would choose. */
static struct taker largest;

/* Counted is what is a process's own: what several share would count for each of
 * them, and be charged to whoever joined. */
static void weigh(const char *name)
{
	char text[4096];

	if (process_file(name, "status", text, sizeof text) <= 0)
		return;
	uid_t uid = (uid_t)field(text, "Uid:");
	unsigned long long tables = field(text, "VmPTE:"), resident = field(text, "VmRSS:") + tables;
	if (resident > largest.kib)
		largest = (struct taker){ uid, resident };
	if (uid != 0)
		add(uid, field(text, "RssAnon:") + tables + PROCESS_KIB);
}

static void weigh_shared(void)
{
	struct shm_info info;
	struct shmid_ds shm;
	int most = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);

	for (int i = 0; i <= most; i++)
		if (shmctl(i, SHM_STAT_ANY, &shm) >= 0)
			add(shm.shm_perm.cuid, shm.shm_segsz / 1024); /* its owner may be named by its maker */
}

static void act(unsigned percent)
{
	struct taker *most = NULL;
	unsigned long long seen = 0;

	n_takers = 0;
	largest.kib = 0;
	if (processes_each(weigh) == 0) {
		weigh_shared();
		sweep_weigh(add);
	}
	for (size_t i = 0; i < n_takers; i++) {
		seen += takers[i].kib;
		if (session_count(takers[i].uid) > 0 && (!most || takers[i].kib > most->kib))
			most = &takers[i];
	}
	/* There may be more that nobody can be seen to have, such as a memfd's. To end
	 * the wrong user's sessions for it would be worse than what the kernel does. */
	unsigned long long unseen = taken_kib > seen ? taken_kib - seen : 0;
	if (!most || most->kib < limit / 1024 / LEAST_SHARE || most->kib < unseen || largest.uid == most->uid)
		return;
	sessions_killed(most->uid, NULL);
	user_end(most->uid);
	logf_uid(UID_NONE, "%u%% of the memory is taken: the sessions of uid %lu, who has about %llu MiB of it, are ended", percent,
		 (unsigned long)most->uid, most->kib / 1024);
}

static long pause_ms(unsigned percent)
{
	double left = (double)(limit >> 20) * (FULL - percent) / 100, ms = left / FASTEST;
	return ms < 5 ? 5 : ms > 500 ? 500 : (long)ms;
}

void memory_tick(long now, long *next)
{
	if (!limit || usage < 0 || statistics < 0 || session_count(UID_NONE) == 0)
		return;
	if (next_look <= now) {
		unsigned percent = taken();
		if (percent >= FULL)
			act(percent);
		next_look = now_ms() + (percent >= FULL ? PAUSE_MS : pause_ms(percent));
	}
	if (!*next || next_look < *next)
		*next = next_look;
}
