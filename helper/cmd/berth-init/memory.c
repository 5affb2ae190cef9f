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
#define ACT_PERCENT 80
/* The fastest that memory is taken, in MiB per millisecond: by it we know when to
 * look again. */
#define MAX_MIB_PER_MS 1.5

/* A user who has less than the limit divided by this is left alone. */
#define MIN_SHARE 10
/* After an act: memory comes back as processes end. */
#define PAUSE_AFTER_ACT_MS 250

/* What a process costs the kernel, in KiB, beside what its status says: stacks,
 * descriptors, accounting (measured with 3,000 sleeps). */
#define PROCESS_KIB 48

static int usage_fd = -1, statistics_fd = -1;
static unsigned long long limit_bytes; /* 0: none */
static unsigned long long taken_kib;
static long next_look;

static struct memory_user {
	uid_t uid;
	unsigned long long kib;
} users[1024];
static size_t user_count;

static unsigned long long read_number(int fd)
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

	for (size_t i = 0; i < LENGTH(places) && usage_fd < 0; i++) {
		int fd = open(places[i].limit, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		limit_bytes = read_number(fd);
		close(fd);
		if (limit_bytes >> 50) /* as good as none */
			limit_bytes = 0;
		usage_fd = open(places[i].usage, O_RDONLY | O_CLOEXEC);
		statistics_fd = open(places[i].statistics, O_RDONLY | O_CLOEXEC);
	}
}

static unsigned long long number_after(const char *text, const char *name)
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
static unsigned taken_percent(void)
{
	static char text[8192];
	unsigned long long used = read_number(usage_fd), files;
	ssize_t n = pread(statistics_fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = 0;
	files = number_after(text, "inactive_file") + number_after(text, "active_file");
	used = used > files ? used - files : 0;
	taken_kib = used / 1024;
	return (unsigned)(used * 100 / limit_bytes);
}

static void add_memory(uid_t uid, unsigned long long kib)
{
	size_t i = 0;

	while (i < user_count && users[i].uid != uid)
		i++;
	if (i == LENGTH(users))
		return;
	if (i == user_count)
		users[user_count++] = (struct memory_user){ .uid = uid };
	users[i].kib += kib;
}

/* The process that the kernel would choose. */
static struct memory_user largest_process;

/* Counted is what is a process's own: what several share would count for each of
 * them, and be charged to whoever joined. */
static void weigh_process(const char *name)
{
	char text[4096];

	if (process_file(name, "status", text, sizeof text) <= 0)
		return;
	uid_t uid = (uid_t)number_after(text, "Uid:");
	unsigned long long tables = number_after(text, "VmPTE:"), resident = number_after(text, "VmRSS:") + tables;
	if (resident > largest_process.kib)
		largest_process = (struct memory_user){ uid, resident };
	if (uid != 0)
		add_memory(uid, number_after(text, "RssAnon:") + tables + PROCESS_KIB);
}

static void weigh_shared(void)
{
	struct shm_info info;
	struct shmid_ds shm;
	int max_index = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);

	for (int i = 0; i <= max_index; i++)
		if (shmctl(i, SHM_STAT_ANY, &shm) >= 0)
			add_memory(shm.shm_perm.cuid, shm.shm_segsz / 1024); /* its owner may be named by its maker */
}

static void end_largest_user(unsigned percent)
{
	struct memory_user *top_user = NULL;
	unsigned long long seen = 0;

	user_count = 0;
	largest_process.kib = 0;
	if (processes_each(weigh_process) == 0) {
		weigh_shared();
		sweep_weigh_files(add_memory);
	}
	for (size_t i = 0; i < user_count; i++) {
		seen += users[i].kib;
		if (session_count(users[i].uid) > 0 && (!top_user || users[i].kib > top_user->kib))
			top_user = &users[i];
	}
	/* There may be more that nobody can be seen to have, such as a memfd's. To end
	 * the wrong user's sessions for it would be worse than what the kernel does. */
	unsigned long long unseen = taken_kib > seen ? taken_kib - seen : 0;
	if (!top_user || top_user->kib < limit_bytes / 1024 / MIN_SHARE || top_user->kib < unseen || largest_process.uid == top_user->uid)
		return;
	sessions_tell_killed(top_user->uid, NULL);
	user_kill(top_user->uid);
	logf_uid(UID_NONE, "%u%% of the memory is taken: the sessions of uid %lu, who has about %llu MiB of it, are ended", percent,
		 (unsigned long)top_user->uid, top_user->kib / 1024);
}

static long pause_ms(unsigned percent)
{
	double left = (double)(limit_bytes >> 20) * (ACT_PERCENT - percent) / 100, ms = left / MAX_MIB_PER_MS;
	return ms < 5 ? 5 : ms > 500 ? 500 : (long)ms;
}

void memory_tick(long now, long *next)
{
	if (!limit_bytes || usage_fd < 0 || statistics_fd < 0 || session_count(UID_NONE) == 0)
		return;
	if (next_look <= now) {
		unsigned percent = taken_percent();
		if (percent >= ACT_PERCENT)
			end_largest_user(percent);
		next_look = now_ms() + (percent >= ACT_PERCENT ? PAUSE_AFTER_ACT_MS : pause_ms(percent));
	}
	set_earlier(next, next_look);
}
