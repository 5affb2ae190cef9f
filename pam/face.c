// SPDX-License-Identifier: Apache-2.0
//
// Process: whoever uses PAM (sshd, su, sudo, login, cron, ...). As: root.
//
// The module's face: two hooks that answer the common case themselves and
// otherwise run this very file as a program. No line of Go runs in this process.

#define _GNU_SOURCE
#include "berth.h"

#include <errno.h>
#include <fcntl.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define HOOK __attribute__((visibility("default")))

/* Ids below this are root's and the system's (login.defs UID_MIN of Debian). */
#define FIRST_USER 1000

static void parse(pam_handle_t *pamh, int flags, int argc, const char **argv, struct berth_options *o)
{
	if (flags & PAM_SILENT)
		o->silent = 1;
	for (; argc > 0; argc--, argv++) {
		if (!strcmp(*argv, "silent"))
			o->silent = 1;
		else if (!strcmp(*argv, "debug"))
			o->debug = 1;
		else if (!strncmp(*argv, "skel=", 5))
			o->skel = *argv + 5;
		else if (!strncmp(*argv, "umask=", 6))
			o->umask = *argv + 6;
		else
			pam_syslog(pamh, LOG_ERR, "unknown option: %s", *argv);
	}
}

/* Is everything there? The home is the user's to fill, so nothing in it is
 * followed, opened for reading or believed; a false yes only means that she
 * gets what she planted. */
static int ready(const struct passwd *pw)
{
	struct stat st;
	int yes = 0, ssh = -1;
	int home = open(pw->pw_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (home < 0)
		return 0;
	if (fstat(home, &st) == 0 && st.st_uid == pw->pw_uid)
		ssh = openat(home, ".ssh", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (ssh >= 0) {
		yes = fstatat(ssh, "authorized_keys", &st, AT_SYMLINK_NOFOLLOW) == 0;
		close(ssh);
	}
	close(home);
	return yes;
}

HOOK int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct berth_options o = { 0 };
	const char *name = NULL;
	const struct passwd *pw;

	parse(pamh, flags, argc, argv, &o);
	if (pam_get_user(pamh, &name, NULL) != PAM_SUCCESS || !name || !*name) {
		pam_syslog(pamh, LOG_ERR, "no user is named");
		return PAM_USER_UNKNOWN;
	}
	pw = pam_modutil_getpwnam(pamh, name);
	if (!pw) {
		pam_syslog(pamh, LOG_ERR, "the user is not known to the name service");
		return PAM_USER_UNKNOWN;
	}
	/* A caller without root's rights (systemd's sd-pam, a user's pamtester)
	 * can make no home, and is no reason to refuse anybody. */
	if (pw->pw_uid < FIRST_USER || geteuid() != 0)
		return PAM_SUCCESS;
	if (!pw->pw_dir || pw->pw_dir[0] != '/' || !strcmp(pw->pw_dir, "/")) {
		pam_syslog(pamh, LOG_ERR, "%s has no home of her own: %s", name, pw->pw_dir ? pw->pw_dir : "");
		return PAM_PERM_DENIED;
	}
	if (ready(pw)) {
		if (o.debug)
			pam_syslog(pamh, LOG_DEBUG, "the home of %s is in place", name);
		return PAM_SUCCESS;
	}
	return berth_work(pamh, pw, &o);
}

HOOK int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_SUCCESS;
}
