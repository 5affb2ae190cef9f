// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init; then a child of it. As: container root; the child becomes
// the user before it looks at anything of theirs.
//
// Removes what outlives a user's last session in memory that all share: System V ipc
// objects, POSIX queues, files in every tmpfs that all may write. Only its owner can
// remove these, so the child becomes the user. By then no process of the user's is
// left that could get in the way. A new session of theirs waits until it is done.

#define _GNU_SOURCE
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long it may take, and how long once the user waits for a new session. */
#define SWEEP_TIMEOUT_MS 30000
#define SHORT_TIMEOUT_MS 2000
#define RETRY_MS 500
#define MAX_TRIES 20
/* How deep it looks for the user's files in directories of others. */
#define MAX_DEPTH 16
/* In a directory with more entries than this we do not look for the user's files
 * ourselves. The child does, which has time. */
#define MAX_ENTRIES 2048

static struct sweep {
	uid_t uid;
	gid_t gid;
	pid_t pid;     /* 0: not started yet */
	long deadline; /* 0: not in use; of one that is not started: when to try again */
	int tries;
} sweeps[256];

static int shared_dirs[16]; /* every tmpfs that all may write */
static size_t shared_dir_count;

void sweep_open(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	struct stat st;

	while (mounts && shared_dir_count < LENGTH(shared_dirs) && (m = getmntent(mounts))) {
		if (strcmp(m->mnt_type, "tmpfs") != 0 && strcmp(m->mnt_type, "mqueue") != 0)
			continue;
		int fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && (st.st_mode & 002))
			shared_dirs[shared_dir_count++] = fd;
		else
			close(fd);
	}
	if (mounts)
		endmntent(mounts);
}

/* Whether there may be something to do: most sessions leave nothing. */
static int may_have_left(uid_t uid)
{
	struct shm_info shm;
	struct seminfo sem;
	struct msginfo msg;
	struct stat st;

	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&shm) < 0 || shm.used_ids > 0 || semctl(0, 0, SEM_INFO, &sem) < 0 || sem.semusz > 0 ||
	    msgctl(0, MSG_INFO, (struct msqid_ds *)&msg) < 0 || msg.msgpool > 0)
		return 1;
	for (size_t i = 0; i < shared_dir_count; i++) {
		int fd = openat(shared_dirs[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = fd < 0, n = 0;
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		for (struct dirent *e; d && !found && (e = readdir(d));)
			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
				found = ++n > MAX_ENTRIES || (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
							      (st.st_uid == uid || (S_ISDIR(st.st_mode) && st.st_mode & 011)));
		if (d)
			closedir(d);
		if (found)
			return 1;
	}
	return 0;
}

/* Only the top of each place is looked at. A walk through all would take long just
 * when there is no time, and each place has a bound of its own. */
void sweep_weigh_files(void (*add)(uid_t uid, unsigned long long kib))
{
	struct stat st;

	for (size_t i = 0; i < shared_dir_count; i++) {
		int fd = openat(shared_dirs[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		for (struct dirent *e; d && n++ < MAX_ENTRIES && (e = readdir(d));)
			/* What others may write is not sure to be its owner's. */
			if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid != 0 && !(st.st_mode & 022))
				add(st.st_uid, (unsigned long long)st.st_blocks / 2);
		if (d)
			closedir(d);
	}
}

static void remove_ipc(uid_t uid)
{
	struct shmid_ds shm;
	struct semid_ds sem;
	struct msqid_ds msg;
	struct shm_info shm_info;
	struct seminfo sem_info;
	struct msginfo msg_info;
	int id, most;

	most = shmctl(0, SHM_INFO, (struct shmid_ds *)&shm_info);
	for (int i = 0; i <= most; i++)
		if ((id = shmctl(i, SHM_STAT_ANY, &shm)) >= 0 && (shm.shm_perm.uid == uid || shm.shm_perm.cuid == uid))
			shmctl(id, IPC_RMID, NULL);
	most = semctl(0, 0, SEM_INFO, &sem_info);
	for (int i = 0; i <= most; i++)
		if ((id = semctl(i, 0, SEM_STAT_ANY, &sem)) >= 0 && (sem.sem_perm.uid == uid || sem.sem_perm.cuid == uid))
			semctl(id, 0, IPC_RMID);
	most = msgctl(0, MSG_INFO, (struct msqid_ds *)&msg_info);
	for (int i = 0; i <= most; i++)
		if ((id = msgctl(i, MSG_STAT_ANY, &msg)) >= 0 && (msg.msg_perm.uid == uid || msg.msg_perm.cuid == uid))
			msgctl(id, IPC_RMID, NULL);
}

/* Opens the directory called name, which is the user's, whatever its mode. */
static DIR *open_own(int at, const char *name)
{
	char path[32];
	int fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (chmod(path, 0700) != 0) {
		close(fd);
		return NULL;
	}
	int readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(fd);
	return readable < 0 ? NULL : fdopendir(readable);
}

static int is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Removes an entry of the user's. A directory within a directory is moved to the
 * top, to be dealt with there: however deep they lie, two are open at a time. */
static int remove_own(int top, int at, const char *name)
{
	unsigned long long number = 0;
	char next[48];

	if (unlinkat(at, name, 0) == 0 || unlinkat(at, name, AT_REMOVEDIR) == 0)
		return 1;
	DIR *d = open_own(at, name);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (is_dot(e->d_name) || unlinkat(dirfd(d), e->d_name, 0) == 0 || unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) == 0)
			continue;
		/* A directory's own mode must let its entry for .. be changed. */
		DIR *inner = open_own(dirfd(d), e->d_name);
		if (inner)
			closedir(inner);
		/* Not to be guessed: others may have taken the name. */
		if (getrandom(&number, sizeof number, 0) != sizeof number)
			continue;
		snprintf(next, sizeof next, ".berth-%llx", number);
		if (renameat(dirfd(d), e->d_name, top, next) != 0)
			continue;
	}
	if (d)
		closedir(d);
	return unlinkat(at, name, AT_REMOVEDIR) == 0;
}

/* Returns how many entries of the user's were removed below the directory fd,
 * which it closes. */
static int remove_below(int top, int fd, uid_t uid, int depth)
{
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;
	int n = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		if (is_dot(e->d_name) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (st.st_uid == uid)
			n += remove_own(top, fd, e->d_name);
		else if (S_ISDIR(st.st_mode) && depth > 0)
			n += remove_below(top, openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), uid, depth - 1);
	}
	if (d)
		closedir(d);
	return n;
}

__attribute__((noreturn)) static void sweep_as_user(uid_t uid, gid_t gid)
{
	/* It keeps these descriptors of the keeper's and no other: a copy of a session's
	 * lifeline would hold that open. They are in ascending order, so dup2 overwrites
	 * none that is still needed. */
	for (size_t i = 0; i < shared_dir_count; i++)
		shared_dirs[i] = dup2(shared_dirs[i], (int)(3 + i));
	if (close_range((unsigned)(3 + shared_dir_count), ~0U, 0) != 0)
		_exit(1);
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 || setuid(0) == 0)
		_exit(1);
	prctl(PR_SET_DUMPABLE, 0);
	setpriority(PRIO_PROCESS, 0, 0); /* `berth settle` has raised the keeper's */
	remove_ipc(uid);
	for (size_t i = 0; i < shared_dir_count; i++)
		/* Until a round finds nothing: what lay deep has come to the top. */
		while (remove_below(shared_dirs[i], openat(shared_dirs[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), uid, MAX_DEPTH) > 0)
			;
	_exit(0);
}

static void start_sweep(struct sweep *s)
{
	pid_t pid = fork();
	if (pid == 0)
		sweep_as_user(s->uid, s->gid);
	/* If there is no room for a process now, it is tried again. */
	s->pid = pid > 0 ? pid : 0;
	s->deadline = now_ms() + (pid > 0 ? SWEEP_TIMEOUT_MS : RETRY_MS);
}

void sweep_user(uid_t uid, gid_t gid)
{
	if (sweep_is_running(uid) || !may_have_left(uid))
		return;
	for (size_t i = 0; i < LENGTH(sweeps); i++)
		if (!sweeps[i].deadline) {
			sweeps[i] = (struct sweep){ .uid = uid, .gid = gid };
			start_sweep(&sweeps[i]);
			return;
		}
	logf_uid(uid, "uid %lu: what the last session has left stays", (unsigned long)uid);
}

int sweep_is_running(uid_t uid)
{
	for (size_t i = 0; i < LENGTH(sweeps); i++)
		if (sweeps[i].deadline && sweeps[i].uid == uid && sweeps[i].pid)
			return 1;
	return 0;
}

int sweep_is_child(pid_t pid)
{
	for (size_t i = 0; i < LENGTH(sweeps); i++)
		if (sweeps[i].deadline && sweeps[i].pid == pid)
			return 1;
	return 0;
}

/* The user waits for a new session: what is not removed soon stays until that is over. */
void sweep_shorten(uid_t uid)
{
	long soon = now_ms() + SHORT_TIMEOUT_MS;
	for (size_t i = 0; i < LENGTH(sweeps); i++)
		if (sweeps[i].deadline > soon && sweeps[i].uid == uid && sweeps[i].pid)
			sweeps[i].deadline = soon;
}

void sweep_reaped(pid_t pid, int status)
{
	for (size_t i = 0; i < LENGTH(sweeps); i++) {
		struct sweep *s = &sweeps[i];
		if (!s->deadline || s->pid != pid)
			continue;
		/* Killed, maybe by the kernel for lack of the memory that it was to free. */
		if (WIFSIGNALED(status) && s->tries++ < MAX_TRIES) {
			s->pid = 0;
			s->deadline = now_ms() + RETRY_MS;
		} else {
			s->deadline = 0;
		}
		sessions_let_in(s->uid);
	}
}

void sweeps_tick(long now, long *next)
{
	for (size_t i = 0; i < LENGTH(sweeps); i++) {
		struct sweep *s = &sweeps[i];
		if (!s->deadline)
			continue;
		if (s->deadline <= now && s->pid) {
			kill(s->pid, SIGKILL);
			s->deadline = now + RETRY_MS;
			s->tries = MAX_TRIES; /* it has had its time */
		} else if (s->deadline <= now && session_count(s->uid) > 0) {
			s->deadline = 0; /* the end of their last session begins it anew */
			continue;
		} else if (s->deadline <= now) {
			start_sweep(s);
		}
		set_earlier(next, s->deadline);
	}
}

/* Before another program takes over, which starts them again. */
int sweep_halt(size_t i, uid_t *uid, gid_t *gid)
{
	if (i >= LENGTH(sweeps))
		return -1;
	*uid = sweeps[i].uid;
	*gid = sweeps[i].gid;
	if (sweeps[i].deadline && sweeps[i].pid)
		kill(sweeps[i].pid, SIGKILL);
	return sweeps[i].deadline != 0;
}
