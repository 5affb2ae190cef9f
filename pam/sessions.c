// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM. As: root.
//
// The connection's part in the record of its sessions (berth-log(7)): an id, a
// directory in which the user's sessions keep a file each until they have written
// their end, and that end for those that could not, because berth-session was killed.
//
// The directory and all in it are the user's, and may be anything. Its own name is in
// a directory of root's, so that nobody exchanges it. Root reads no file in it, opens
// none and follows no link: a name that has the right form is removed, and is all that
// is taken over into the log.

#define _GNU_SOURCE
#include "berth.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <security/pam_ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define DATA "berth_connection"
#define HEX "0123456789abcdef"

/* How long sessions that have just lost their client may take to write their own end. */
#define UNTIL_LOST_MS 2000
/* How many names of a directory are looked at, and how many lines written, at a close. */
#define MOST_NAMES 4096
#define MOST_LOST 100

struct connection {
	char id[9];
	uid_t uid;
	char user[64];
};

static void free_connection(pam_handle_t *pamh, void *data, int status)
{
	(void)pamh;
	(void)status;
	free(data);
}

static struct connection *connection_of(const pam_handle_t *pamh)
{
	const void *data = NULL;
	return pam_get_data(pamh, DATA, &data) == PAM_SUCCESS ? (struct connection *)data : NULL;
}

/* A text with the connection's id behind it, where there is one. */
__attribute__((format(printf, 4, 0))) static void with_id(const pam_handle_t *pamh, char *to, size_t size, const char *format, va_list list)
{
	const struct connection *c = connection_of(pamh);
	int n = vsnprintf(to, size, format, list);
	if (c && n >= 0 && (size_t)n < size)
		snprintf(to + n, size - (size_t)n, " (id %s)", c->id);
}

void berth_log(const pam_handle_t *pamh, int level, const char *format, ...)
{
	char text[1024];
	va_list list;
	int saved = errno; /* for %m */

	va_start(list, format);
	errno = saved;
	with_id(pamh, text, sizeof text, format, list);
	va_end(list);
	pam_syslog(pamh, level, "%s", text);
	errno = saved;
}

void berth_tell(pam_handle_t *pamh, int style, const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	with_id(pamh, text, sizeof text, format, list);
	va_end(list);
	pam_prompt(pamh, style, NULL, "%s", text);
}

/* The directory of all users' directories: root's, or there is none to use. */
static int open_sessions(void)
{
	return berth_open_root(AT_FDCWD, SESSIONS);
}

/* Makes the user's directory. One that root has made and not given away, because the
 * host stopped in between, is given away now. */
static int make_directory(int sessions, const char *name, const struct passwd *pw)
{
	struct stat st;
	if (fstatat(sessions, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode) && st.st_uid == pw->pw_uid)
			return 0;
		if (!S_ISDIR(st.st_mode) || st.st_uid != 0) {
			errno = EEXIST;
			return -1;
		}
	} else if (mkdirat(sessions, name, 0700) != 0 && errno != EEXIST) {
		return -1;
	}
	if (fchmodat(sessions, name, 0700, 0) != 0) /* whatever the caller's umask */
		return -1;
	return fchownat(sessions, name, pw->pw_uid, pw->pw_gid, AT_SYMLINK_NOFOLLOW);
}

void berth_connect(pam_handle_t *pamh, const struct passwd *pw)
{
	char name[16], variable[sizeof "BERTH_CONNECTION=" + 8];
	unsigned random = 0;

	if (connection_of(pamh)) /* some stacks run twice */
		return;
	int sessions = open_sessions();
	if (sessions < 0) {
		if (errno != ENOENT) /* else this host has no container */
			pam_syslog(pamh, LOG_WARNING, "%s: %m: the session's record may have no end", SESSIONS);
		return;
	}
	struct connection *c = calloc(1, sizeof *c);
	if (c && getrandom(&random, sizeof random, GRND_NONBLOCK) == sizeof random) {
		c->uid = pw->pw_uid;
		if (strlen(pw->pw_name) < sizeof c->user && !strpbrk(pw->pw_name, " \t\r\n\"\\="))
			strcpy(c->user, pw->pw_name);
		snprintf(c->id, sizeof c->id, "%08x", random);
		snprintf(variable, sizeof variable, "BERTH_CONNECTION=%s", c->id);
		snprintf(name, sizeof name, "%lu", (unsigned long)pw->pw_uid);
		if (make_directory(sessions, name, pw) != 0)
			pam_syslog(pamh, LOG_WARNING, "%s/%s: %m: the session's record may have no end", SESSIONS, name);
		if (pam_set_data(pamh, DATA, c, free_connection) == PAM_SUCCESS) {
			pam_putenv(pamh, variable);
			c = NULL;
		}
	}
	free(c);
	close(sessions);
}

/* Sends a line to journald, with its fields, or else to syslog. fields is what the
 * journal has besides, a line each. */
static void write_line(const pam_handle_t *pamh, const struct connection *c, const char *event, const char *text, const char *fields)
{
	struct sockaddr_un journal = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	struct timeval bound = { .tv_sec = 1 };
	char entry[1024];
	int sent = 0, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int n = snprintf(entry, sizeof entry,
		"MESSAGE=session %s %s\nPRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=berth-session\nBERTH_EVENT=%s\nBERTH_USER=%s\nBERTH_UID=%lu\n%s",
		event, text, LOG_WARNING, LOG_AUTHPRIV >> 3, event, c->user, (unsigned long)c->uid, fields);

	if (fd >= 0 && n > 0 && (size_t)n < sizeof entry && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) == 0)
		sent = sendto(fd, entry, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&journal, sizeof journal) == n;
	if (fd >= 0)
		close(fd);
	if (!sent)
		pam_syslog(pamh, LOG_WARNING, "session %s %s", event, text);
}

/* The pid in a session's name, ID.PID, or 0 for any other name. ID is 8 hexadecimal
 * digits, or twice that and a dash between. */
static pid_t pid_in(const char *name, size_t *id)
{
	char *end;
	*id = strspn(name, HEX);
	if (*id == 8 && name[8] == '-')
		*id = 9 + strspn(name + 9, HEX);
	if ((*id != 8 && *id != 17) || name[*id] != '.')
		return 0;
	const char *digits = name + *id + 1;
	size_t n = strspn(digits, "0123456789");
	if (n == 0 || n > 9 || digits[n] || digits[0] == '0')
		return 0;
	return (pid_t)strtol(digits, &end, 10);
}

/* Whether the process ends within some time, or has. */
static int ends_within(pid_t pid, long ms)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	if (p.fd < 0)
		return errno == ESRCH;
	int n;
	for (long end = berth_now_ms() + ms; (n = poll(&p, 1, (int)ms)) < 0 && errno == EINTR;)
		ms = end > berth_now_ms() ? end - berth_now_ms() : 0;
	close(p.fd);
	return n > 0;
}

/* Writes the end of a session that has not done so. Whoever removes its file does. */
static int write_lost(const pam_handle_t *pamh, const struct connection *c, int directory, const char *name, size_t id, int dead)
{
	const char *reason = dead ? "berth-session was killed" : "berth-session has not ended with its connection";
	char text[256], fields[256];

	if (unlinkat(directory, name, 0) != 0)
		return 0;
	snprintf(text, sizeof text, "id=%.*s user=%s uid=%lu reason=\"%s\"", (int)id, name, c->user, (unsigned long)c->uid, reason);
	snprintf(fields, sizeof fields, "BERTH_ID=%.*s\nBERTH_REASON=%s\n", (int)id, name, reason);
	write_line(pamh, c, "lost", text, fields);
	return 1;
}

/* Says how many sessions the user's rate left out. Whoever removes the file does. */
static void write_omitted(const pam_handle_t *pamh, const struct connection *c, int directory)
{
	char text[128], fields[64];
	struct stat st;

	if (fstatat(directory, "omitted", &st, AT_SYMLINK_NOFOLLOW) != 0 || unlinkat(directory, "omitted", 0) != 0 || !S_ISREG(st.st_mode))
		return;
	snprintf(text, sizeof text, "user=%s uid=%lu count=%lld", c->user, (unsigned long)c->uid, (long long)st.st_size);
	snprintf(fields, sizeof fields, "BERTH_COUNT=%lld\n", (long long)st.st_size);
	write_line(pamh, c, "omitted", text, fields);
}

static void write_ends(const pam_handle_t *pamh, const struct connection *c, DIR *names)
{
	long end = berth_now_ms() + UNTIL_LOST_MS;
	int lost = 0;
	struct dirent *entry;

	for (int seen = 0; seen < MOST_NAMES && lost < MOST_LOST && (entry = readdir(names)); seen++) {
		size_t id;
		pid_t pid = pid_in(entry->d_name, &id);
		if (!pid)
			continue;
		int ours = id == 17 && strncmp(entry->d_name, c->id, 8) == 0;
		long left = ours && end > berth_now_ms() ? end - berth_now_ms() : 0;
		int dead = ends_within(pid, left);
		/* Of other connections, the dead: their own was killed as well. */
		if (ours || dead)
			lost += write_lost(pamh, c, dirfd(names), entry->d_name, id, dead);
	}
	write_omitted(pamh, c, dirfd(names));
}

void berth_disconnect(pam_handle_t *pamh)
{
	const struct connection *c = connection_of(pamh);
	char name[16];
	struct stat st;

	if (!c || geteuid() != 0)
		return;
	int sessions = open_sessions();
	snprintf(name, sizeof name, "%lu", (unsigned long)c->uid);
	int directory = sessions < 0 ? -1 : openat(sessions, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *names = directory >= 0 && fstat(directory, &st) == 0 && st.st_uid == c->uid ? fdopendir(directory) : NULL;
	if (names) {
		write_ends(pamh, c, names);
		closedir(names);
	} else if (directory >= 0) {
		close(directory);
	}
	if (sessions >= 0)
		close(sessions);
	pam_set_data(pamh, DATA, NULL, NULL);
}
