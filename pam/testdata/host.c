// SPDX-License-Identifier: Apache-2.0
//
// A PAM application for the tests: host CONFDIR SERVICE USER WHAT
//   plain     open and close, and say what the process looked like before and after
//   silent    the same with PAM_SILENT
//   hooks     what libpam says of the four hooks that the module does not have
//   fork MS   pam_start, wait, fork; open and close in the child
//   after CMD as plain, with a shell's CMD run between pam_start and the opening
//   within N CMD  as after, but CMD is run, with PAM's environment, once the session has
//             been opened N times, after which it is closed N times
//   bench N   open and close N times, and print the median of an open in ns
//   storm N [HOME TRASH [MODE]]  open and close N times, and print how often each
//             result came and how long the longest took; before each round HOME
//             goes into TRASH, and with MODE an empty directory
//             of root's takes its place
//   odd TRAIT...  open and close as the hosts do that odd.c describes
#define _GNU_SOURCE
#include "host.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

FILE *report;
void (*during)(void);

static int talk(int n, const struct pam_message **m, struct pam_response **r, void *data)
{
	(void)data;
	*r = calloc((size_t)n, sizeof **r);
	for (int i = 0; i < n; i++)
		fprintf(report, "says %s\n", m[i]->msg);
	if (during)
		during();
	return PAM_SUCCESS;
}

const struct pam_conv conversation = { talk, NULL };

static int flags; /* for open and close */

static int open_close(pam_handle_t *pamh)
{
	int opened = pam_open_session(pamh, flags), closed = pam_close_session(pamh, flags);
	printf("open %d close %d\n", opened, closed);
	fflush(stdout);
	return opened != PAM_SUCCESS || closed != PAM_SUCCESS;
}

static int within(pam_handle_t *pamh, int n, const char *command)
{
	int opened = 0, closed = 0;

	for (int i = 0; i < n; i++)
		opened |= pam_open_session(pamh, flags);
	char **list = pam_getenvlist(pamh);
	for (char **e = list; e && *e; e++) {
		char *value = strchr(*e, '=');
		*value = 0;
		setenv(*e, value + 1, 1);
	}
	fflush(stdout);
	if (system(command) != 0)
		return 3;
	for (char **e = list; e && *e; e++)
		unsetenv(*e);
	for (int i = 0; i < n; i++)
		closed |= pam_close_session(pamh, flags);
	printf("open %d close %d\n", opened, closed);
	fflush(stdout);
	return opened != PAM_SUCCESS || closed != PAM_SUCCESS;
}

static int by_size(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;
	return (x > y) - (x < y);
}

static int bench(pam_handle_t *pamh, int n)
{
	long *took = calloc((size_t)n, sizeof *took);
	int network = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; took && i < n; i++) {
		struct timespec a, b;
		if (setns(network, CLONE_NEWNET) != 0) /* each opens where sshd does */
			return 1;
		clock_gettime(CLOCK_MONOTONIC, &a);
		int rc = pam_open_session(pamh, PAM_SILENT);
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (rc != PAM_SUCCESS || pam_close_session(pamh, PAM_SILENT) != PAM_SUCCESS)
			return 1;
		took[i] = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
	}
	if (!took)
		return 1;
	qsort(took, (size_t)n, sizeof *took, by_size);
	printf("median %ld\n", took[n / 2]);
	free(took);
	return 0;
}

static int storm(pam_handle_t *pamh, int n, const char *home, const char *trash, const char *mode)
{
	long results[_PAM_RETURN_VALUES] = { 0 }, longest = 0;
	for (int i = 0; i < n; i++) {
		struct timespec a, b;
		char path[256];
		snprintf(path, sizeof path, "%s/%d.%d", trash, (int)getpid(), i);
		if (home)
			rename(home, path);
		if (mode && (mkdir(home, 0700) || chmod(home, (mode_t)strtoul(mode, NULL, 8))))
			return 1;
		clock_gettime(CLOCK_MONOTONIC, &a);
		int rc = pam_open_session(pamh, PAM_SILENT);
		clock_gettime(CLOCK_MONOTONIC, &b);
		pam_close_session(pamh, PAM_SILENT);
		long ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
		longest = ms > longest ? ms : longest;
		results[rc]++;
	}
	for (int i = 0; i < _PAM_RETURN_VALUES; i++)
		if (results[i])
			printf("result %d %ld\n", i, results[i]);
	printf("longest %ld\n", longest);
	return 0;
}

int main(int argc, char **argv)
{
	pam_handle_t *pamh;
	const char *what = argc > 4 ? argv[4] : "";

	if (argc < 5)
		return 2;
	report = stdout;
	if (!strcmp(what, "silent"))
		flags = PAM_SILENT;
	if (!strcmp(what, "odd"))
		return odd(argv);
	openlog("host", LOG_NDELAY, LOG_AUTHPRIV); /* or the first message costs a descriptor */
	if ((!strcmp(what, "after") || !strcmp(what, "within")) && system(":") != 0) /* it leaves a trace of its own, once */
		return 3;
	if (strcmp(what, "bench") && strcmp(what, "storm"))
		look("before");
	int rc = pam_start_confdir(argv[2], argv[3], &conversation, argv[1], &pamh);
	if (rc != PAM_SUCCESS) {
		printf("start %d\n", rc);
		return 1;
	}
	if (!strcmp(what, "hooks")) {
		printf("hooks %d %d %d %d\n", pam_authenticate(pamh, 0), pam_setcred(pamh, 0), pam_acct_mgmt(pamh, 0), pam_chauthtok(pamh, 0));
		return 0;
	}
	if (!strcmp(what, "bench"))
		return bench(pamh, atoi(argv[5]));
	if (!strcmp(what, "storm"))
		return argc < 6 ? 2 : storm(pamh, atoi(argv[5]), argc > 7 ? argv[6] : NULL, argv[7], argc > 8 ? argv[8] : NULL);
	fflush(stdout);
	if (!strcmp(what, "after") && system(argv[5]) != 0)
		return 3;
	look("started");
	if (!strcmp(what, "fork")) {
		int status;
		fflush(stdout);
		usleep((useconds_t)atoi(argv[5]) * 1000);
		pid_t pid = fork();
		if (pid == 0)
			_exit(open_close(pamh));
		waitpid(pid, &status, 0);
		pam_end(pamh, PAM_SUCCESS);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
	}
	rc = strcmp(what, "within") ? open_close(pamh) : argc < 7 ? 2 : within(pamh, atoi(argv[5]), argv[6]);
	look("after");
	siginfo_t child;
	printf("children %s\n", waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) < 0 ? "none" : "some");
	pam_end(pamh, PAM_SUCCESS);
	return rc;
}
