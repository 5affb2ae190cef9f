// SPDX-License-Identifier: Apache-2.0
//
// Local users who exchange what a worker is about to touch, as fast as they can:
//   attacker STASH VICTIM ATTACK... -- N COMMAND...
// runs COMMAND N times at once with the attacks going on, then prints how often each one moved
// something. An attack is UID:WHAT:DIR:ARGUMENT, with WHAT
//   swap    the names ARGUMENT (a,b,c; one that ends in * is a beginning) in DIR
//           with what lies in STASH, exchanged, or moved where one is missing
//           (renameat2(2)): links to the victim, hard links to its files, a
//           FIFO, a directory, nothing
//   turn    the same, but that the stash is DIR itself: where the names are other
//           users' directories they can be renamed, but not moved away
//   drop    a file, a link and a directory into DIR, again and again
//   mode    gives DIR, which is the attacker's, the mode ARGUMENT again and again
//   signal  the workers that have become UID, with the number ARGUMENT
// DIR, in which a name may be PREFIX*, is never reached by way of a symbolic link: what
// the attackers touch is theirs, and all else was the worker.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a worker makes is 0700 or 0600, what is planted is not. */
#define WORKERS(mode) (((mode) & 0777) == 0700 || ((mode) & 0777) == 0600)
#define SLOTS 10

static int stash;
static const char *victim;

/* Opens a directory by path; a component PREFIX* is the first that begins so. */
static int reach(const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	char copy[512], found[600] = "";
	snprintf(copy, sizeof copy, "%s", path);
	char *star = strchr(copy, '*'), *prefix;
	if (!star)
		return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
	*star = 0;
	prefix = strrchr(copy, '/');
	*prefix++ = 0;
	int dir = (int)syscall(SYS_openat2, AT_FDCWD, copy, &how, sizeof how);
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *e;
	if (!d)
		return -1;
	while (!*found && (e = readdir(d)))
		if (!strncmp(e->d_name, prefix, strlen(prefix)))
			snprintf(found, sizeof found, "%s%s", e->d_name, star + 1);
	int fd = *found ? (int)syscall(SYS_openat2, dir, found, &how, sizeof how) : -1;
	closedir(d);
	return fd;
}

static void empty(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	while (d && (e = readdir(d)))
		if (unlinkat(fd, e->d_name, 0) && unlinkat(fd, e->d_name, AT_REMOVEDIR) && strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) {
			empty(fd, e->d_name);
			unlinkat(fd, e->d_name, AT_REMOVEDIR);
		}
	if (d)
		closedir(d);
}

/* Puts what belongs there into a slot of the stash that is free, or holds what
 * a worker made. */
static void plant(int slot, const char *name)
{
	static const char *const links[] = { "etc", "etc/shadow", "open", "hers", "nowhere" };
	char path[256];
	struct stat st;
	if (!fstatat(stash, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (S_ISDIR(st.st_mode))
			empty(stash, name);
		if (slot < 8 && !WORKERS(st.st_mode))
			return;
		unlinkat(stash, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	}
	if (slot < 5) {
		snprintf(path, sizeof path, "%s/%s", victim, links[slot]);
		symlinkat(path, stash, name);
	} else if (slot == 5) {
		snprintf(path, sizeof path, "%s/linked/file", victim);
		linkat(AT_FDCWD, path, stash, name, 0);
	} else if (slot == 6) {
		mkfifoat(stash, name, 0604);
	} else if (slot == 7) {
		mkdirat(stash, name, 0705);
	}
}

static void swap_name(int dir, const char *name, unsigned *seed, volatile long *count)
{
	char slot[8];
	int n = rand_r(seed) % SLOTS;
	snprintf(slot, sizeof slot, "%d", n);
	int done = !renameat2(dir, name, stash, slot, RENAME_EXCHANGE);
	if (!done && errno == ENOENT)
		done = !renameat2(dir, name, stash, slot, RENAME_NOREPLACE) || !renameat2(stash, slot, dir, name, RENAME_NOREPLACE);
	*count += done;
	plant(n, slot);
}

static void swap(int dir, const char *names, unsigned *seed, volatile long *count)
{
	char copy[256], *rest = copy, *name;
	snprintf(copy, sizeof copy, "%s", names);
	while ((name = strsep(&rest, ","))) {
		size_t n = strlen(name);
		if (name[n - 1] != '*') {
			swap_name(dir, name, seed, count);
			continue;
		}
		DIR *d = fdopendir(dup(dir));
		struct dirent *e;
		while (d && (e = readdir(d)))
			if (!strncmp(e->d_name, name, n - 1))
				swap_name(dir, e->d_name, seed, count);
		if (d)
			closedir(d);
	}
}

static void drop(int dir, volatile long *count)
{
	int fd = openat(dir, ".bashrc", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	*count += fd >= 0;
	close(fd);
	*count += !symlinkat("..", dir, ".profile");
	*count += !mkdirat(dir, ".ssh", 0777);
	unlinkat(dir, ".bashrc", 0);
	unlinkat(dir, ".profile", 0);
	unlinkat(dir, ".ssh", AT_REMOVEDIR);
}

static pid_t parent(pid_t pid)
{
	char path[64];
	int of = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%*[^)]) %*c %d", &of) != 1)
		of = 0;
	if (f)
		fclose(f);
	return of;
}

/* The workers that the command's children are; nobody else's are to suffer. */
static void hit(int sig, volatile long *count)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	while (d && (e = readdir(d))) {
		pid_t pid = atoi(e->d_name);
		if (pid > 0 && pid != getpid() && parent(parent(pid)) == getppid())
			*count += !kill(pid, sig);
	}
	if (d)
		closedir(d);
}

__attribute__((noreturn)) static void attack(const char *spec, volatile long *moved, int ready)
{
	char copy[512], *rest = copy;
	snprintf(copy, sizeof copy, "%s", spec);
	uid_t uid = (uid_t)atoi(strsep(&rest, ":"));
	const char *what = strsep(&rest, ":"), *path = strsep(&rest, ":"), *argument = rest ? rest : "";
	unsigned seed = uid + (unsigned)strlen(spec);

	if (fchown(stash, uid, uid) || setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || prctl(PR_SET_PDEATHSIG, SIGKILL) || nice(19) < 0)
		_exit(3);
	close(ready); /* the last one to do so starts the command */
	for (;;) {
		if (!strcmp(what, "signal")) {
			hit(atoi(argument), moved);
			continue;
		}
		int dir = reach(path);
		if (dir < 0)
			continue;
		if (!strcmp(what, "turn"))
			stash = dir;
		if (!strcmp(what, "swap") || !strcmp(what, "turn"))
			swap(dir, argument, &seed, moved);
		else if (!strcmp(what, "mode"))
			*moved += !fchmod(dir, (mode_t)strtoul(argument, NULL, 8));
		else
			drop(dir, moved);
		close(dir);
	}
}

int main(int argc, char **argv)
{
	pid_t pids[16];
	int n = 0, ready[2], status, failed = 0;
	char c;
	volatile long *moved = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	umask(0);
	if (argc < 4 || moved == MAP_FAILED || pipe2(ready, O_CLOEXEC))
		return 2;
	victim = argv[2];
	argv += 3;
	for (; n < 16 && argv[n] && strcmp(argv[n], "--"); n++) {
		char path[256];
		snprintf(path, sizeof path, "%s/%d", argv[-2], n);
		if (mkdir(path, 0755) || (stash = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			return 2;
		if (!(pids[n] = fork()))
			attack(argv[n], &moved[n], ready[1]);
		close(stash);
	}
	close(ready[1]);
	if (!argv[n] || !argv[n + 1] || read(ready[0], &c, 1) != 0)
		return 2;
	for (int copies = atoi(argv[n + 1]); copies > 0; copies--)
		if (!fork()) {
			umask(022);
			execvp(argv[n + 2], argv + n + 2);
			_exit(127);
		}
	for (int copies = atoi(argv[n + 1]); copies > 0; copies--)
		failed |= wait(&status) < 0 || status; /* an attacker never ends by itself */
	for (int i = 0; i < n; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		printf("moved %ld %s\n", moved[i], argv[i]);
	}
	return !!failed;
}
