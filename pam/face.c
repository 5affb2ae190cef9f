// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM (sshd, su, sudo, login, cron, ...). As: root.
//
// The module's face: two hooks that answer the common case themselves and
// otherwise run this very file as a program. No line of Go runs in this process.

#define _GNU_SOURCE
#include "berth.h"
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define HOOK __attribute__((visibility("default")))

/* Ids below this are root's and the system's (login.defs UID_MIN of Debian). */
#define FIRST_USER 1000
/* Nobody's id, which NFS and user namespaces give to those they do not know. */
#define NOBODY 65534
#define TIMEOUT 30
#define CONTAINER_TIMEOUT 60
#define LONGEST_TIMEOUT 3600

static void number(pam_handle_t *pamh, const char *option, const char *text, unsigned long low, unsigned long high, unsigned long *to)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || n < low || n > high)
		berth_log(pamh, LOG_ERR, "%s is not a number from %lu to %lu and is ignored", option, low, high);
	else
		*to = n;
}

static void choice(pam_handle_t *pamh, const char *option, const char *text, const char *no, const char *yes, int *to)
{
	if (!strcmp(text, yes))
		*to = 1;
	else if (!strcmp(text, no))
		*to = 0;
	else
		berth_log(pamh, LOG_ERR, "%s is neither %s nor %s and is ignored", option, no, yes);
}

static void parse(pam_handle_t *pamh, int flags, int argc, const char **argv, struct berth_options *o)
{
	static const char *const passed[BERTH_PASSED] = { "skel=", "umask=", "mode=", "authorized_keys=", "existing=", "ssh_dir=" };
	unsigned long timeout = 0;

	*o = (struct berth_options){ .silent = !!(flags & PAM_SILENT), .uid_min = FIRST_USER, .uid_max = (uid_t)-2 };
	for (; argc > 0; argc--, argv++) {
		const char *a = *argv, *value = strchr(a, '=');
		int i = 0;
		value = value ? value + 1 : "";
		while (i < BERTH_PASSED && strncmp(a, passed[i], strlen(passed[i])))
			i++;
		if (i < BERTH_PASSED)
			o->passed[i] = a;
		else if (!strcmp(a, "silent"))
			o->silent = 1;
		else if (!strcmp(a, "debug"))
			o->debug = 1;
		else if (!strcmp(a, "container"))
			o->container = 1;
		else if (!strncmp(a, "uid_min=", 8))
			number(pamh, a, value, 1, (uid_t)-2, &o->uid_min);
		else if (!strncmp(a, "uid_max=", 8))
			number(pamh, a, value, 1, (uid_t)-2, &o->uid_max);
		else if (!strncmp(a, "timeout=", 8))
			number(pamh, a, value, 1, LONGEST_TIMEOUT, &timeout);
		else if (!strncmp(a, "group=", 6))
			o->group = value;
		else if (!strncmp(a, "exec=", 5))
			o->exec = value;
		else if (!strncmp(a, "exec_failure=", 13))
			choice(pamh, a, value, "ignore", "deny", &o->deny);
		else
			berth_log(pamh, LOG_ERR, "unknown option: %s", a);
	}
	o->timeout = (int)(timeout ? timeout : o->container ? CONTAINER_TIMEOUT : TIMEOUT);
	for (int i = 0; o->container && i < BERTH_PASSED; i++)
		if (o->passed[i])
			berth_log(pamh, LOG_ERR, "%s is nothing to a line with container and is ignored", o->passed[i]);
	if (o->container && o->exec)
		berth_log(pamh, LOG_ERR, "exec=%s is nothing to a line with container and is ignored", o->exec);
}

static int option_is(const char *option, const char *value)
{
	return option && !strcmp(strchr(option, '=') + 1, value);
}

/* Is everything there? The home is the user's to fill, so nothing in it is
 * followed, opened for reading or believed; a false yes only means that she
 * gets what she planted. */
static int ready(const struct passwd *pw, const struct berth_options *o)
{
	int ignore = option_is(o->passed[BERTH_EXISTING], "ignore");
	struct stat st;
	int yes = 0, ssh = -1;
	int home = open(pw->pw_dir, O_PATH | O_DIRECTORY | O_CLOEXEC | (ignore ? 0 : O_NOFOLLOW));
	if (home < 0)
		return 0;
	if (fstat(home, &st) == 0 && st.st_uid == pw->pw_uid && (ignore || !(st.st_mode & 022))) {
		if (option_is(o->passed[BERTH_SSH_DIR], "no"))
			yes = 1;
		else
			ssh = openat(home, ".ssh", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (ssh >= 0) {
		yes = fstatat(ssh, "authorized_keys", &st, AT_SYMLINK_NOFOLLOW) == 0;
		close(ssh);
	}
	close(home);
	return yes;
}

/* Does this host have no use for the user's names, or their latest? */
static int named(const struct passwd *pw)
{
	static const char *const sources[] = { "/etc/passwd", "/etc/group", NULL };
	char path[sizeof NAMES + 16];
	struct stat record;

	if (access(NAMES, F_OK) != 0)
		return 1;
	snprintf(path, sizeof path, "%s/%lu", NAMES, (unsigned long)pw->pw_uid);
	return lstat(path, &record) == 0 && berth_fresh(&record, sources);
}

/* Is the user in one of the groups, whose names have commas between? */
static int in_group(pam_handle_t *pamh, const char *user, const char *groups)
{
	char group[256];

	for (const char *at = groups;; at++) {
		size_t n = strcspn(at, ",");
		if (n < sizeof group) { /* longer than any name (LOGIN_NAME_MAX) */
			memcpy(group, at, n);
			group[n] = 0;
			if (pam_modutil_user_in_group_nam_nam(pamh, user, group) == 1)
				return 1;
		}
		at += n;
		if (!*at)
			return 0;
	}
}

/* Whose session it is: sets *pw for a user whom the module serves. */
static int served(pam_handle_t *pamh, const struct berth_options *o, const struct passwd **pw)
{
	const char *name = NULL;

	*pw = NULL;
	if (pam_get_user(pamh, &name, NULL) != PAM_SUCCESS || !name || !*name) {
		berth_log(pamh, LOG_ERR, "the calling program names no user");
		return PAM_USER_UNKNOWN;
	}
	const struct passwd *found = pam_modutil_getpwnam(pamh, name);
	if (!found) {
		berth_log(pamh, LOG_ERR, "the user is not known to the name service");
		return PAM_USER_UNKNOWN;
	}
	/* A caller without root's rights (systemd's sd-pam, a user's pamtester)
	 * can make no home, and is no reason to refuse anybody. */
	if (geteuid() != 0 || found->pw_uid < o->uid_min || found->pw_uid > o->uid_max || found->pw_uid == NOBODY)
		return PAM_SUCCESS;
	if (o->group && !in_group(pamh, name, o->group))
		return PAM_SUCCESS;
	*pw = found;
	return PAM_SUCCESS;
}

/* Whether the caller is sshd. Its service may have another name (PAMServiceName), but until
 * there is a terminal sshd on Linux sets PAM_TTY to "ssh". */
static int sshd_opens(pam_handle_t *pamh)
{
	const void *service = NULL, *tty = NULL;

	pam_get_item(pamh, PAM_SERVICE, &service);
	pam_get_item(pamh, PAM_TTY, &tty);
	return (service && !strcmp(service, "sshd")) || (tty && !strcmp(tty, "ssh"));
}

/* Whether this user belongs into a container, as far as the first line can tell: it does not
 * know what group= the line `container` has. An unknown account counts as confined. */
static int confined(pam_handle_t *pamh)
{
	const char *name = NULL;
	const struct passwd *pw = pam_get_user(pamh, &name, NULL) == PAM_SUCCESS && name ? pam_modutil_getpwnam(pamh, name) : NULL;
	if (!pw)
		return 1;
	if (pw->pw_uid == 0)
		return 0;
	const char *program = strrchr(pw->pw_shell, '/');
	if (program && !strcmp(program, CONFINING_SHELL))
		return 1;
	/* sshd has found the group. If it cannot be found now, that says nothing of the user. */
	return (in_group(pamh, name, CONFINED) || !pam_modutil_getgrnam(pamh, CONFINED)) && !in_group(pamh, name, ADMINS);
}

static int may_forward(void)
{
	struct stat st;
	return lstat(FORWARDING, &st) == 0 || errno != ENOENT;
}

/* The name service may know an account by names beside its own: in capitals, with a domain.
 * berth asks for the uid's, sshd's Match compares the one that the client gave. Where it
 * tells users apart by name, another one may forward what this one may not. */
static int misnamed(pam_handle_t *pamh, const struct passwd *pw)
{
	const char *name = NULL;
	struct stat st;

	if (lstat(FORWARDING, &st) != 0 ? errno == ENOENT : st.st_size == 0)
		return 0;
	const struct passwd *own = pam_modutil_getpwuid(pamh, pw->pw_uid);
	if (own && pam_get_user(pamh, &name, NULL) == PAM_SUCCESS && name && !strcmp(name, own->pw_name))
		return 0;
	berth_log(pamh, LOG_ERR, "the user's own name is %s: sshd may forward by this one what berth.toml does not allow, so it reaches nothing",
		own ? own->pw_name : "not known");
	return 1;
}

static int script(pam_handle_t *pamh, const struct passwd *pw, const struct berth_options *o, const char *type)
{
	if (!o->exec)
		return PAM_SUCCESS;
	int result = berth_exec(pamh, pw, o, type);
	if (result == PAM_SUCCESS || !o->deny)
		return PAM_SUCCESS;
	if (!o->silent)
		berth_tell(pamh, PAM_ERROR_MSG, "Your session could not be prepared; please tell the administrator.");
	return result;
}

/* A line without `container`: makes the home, and what belongs to it. */
static int open_home(pam_handle_t *pamh, const struct berth_options *o)
{
	const struct passwd *pw;

	int result = served(pamh, o, &pw);
	if (result != PAM_SUCCESS || !pw)
		return result;
	berth_connect(pamh, pw);
	if (pw->pw_dir[0] != '/') {
		berth_log(pamh, LOG_ERR, "the home of %s is not an absolute path: %s", pw->pw_name, pw->pw_dir);
		if (!o->silent)
			berth_tell(pamh, PAM_ERROR_MSG, "Your home directory is not an absolute path; please tell the administrator.");
		return PAM_PERM_DENIED;
	}
	if (!ready(pw, o))
		result = berth_home(pamh, pw, o);
	else if (o->debug)
		berth_log(pamh, LOG_DEBUG, "the home of %s is in place", pw->pw_name);
	/* A session without names is better than none: what fails here is logged. */
	if (result == PAM_SUCCESS && !named(pw))
		berth_names(pamh, pw, o);
	return result == PAM_SUCCESS ? script(pamh, pw, o, "open_session") : result;
}

/* The line `container`. */
static int open_container(pam_handle_t *pamh, const struct berth_options *o)
{
	const struct passwd *pw;

	int left = berth_network_back(pamh); /* the name service may need it */
	berth_lease_keep(pamh, -1); /* it may be another user's, from an opening before */
	int result = served(pamh, o, &pw);
	if (result == PAM_SUCCESS && pw) {
		berth_connect(pamh, pw);
		int other = misnamed(pamh, pw); /* while there is a network for the name service */
		result = berth_container(pamh, pw, o);
		if (other)
			berth_network_empty(pamh);
		return result;
	}
	if (geteuid() == 0 && (left || result != PAM_SUCCESS))
		berth_network_empty(pamh);
	return result;
}

HOOK int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct berth_options o;

	parse(pamh, flags, argc, argv, &o);
	if (o.container)
		return open_container(pamh, &o);
	int result = open_home(pamh, &o);
	/* Whatever the result: sshd goes on after a session that failed, with less. */
	if (geteuid() == 0 && may_forward() && sshd_opens(pamh) && confined(pamh))
		berth_network_leave(pamh);
	return result;
}

HOOK int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct berth_options o;
	const struct passwd *pw;

	int result = PAM_SUCCESS;
	parse(pamh, flags, argc, argv, &o);
	if (o.container) {
		berth_lease_keep(pamh, -1);
		return PAM_SUCCESS;
	}
	if (o.exec && served(pamh, &o, &pw) == PAM_SUCCESS && pw)
		result = script(pamh, pw, &o, "close_session");
	berth_disconnect(pamh);
	return result;
}
