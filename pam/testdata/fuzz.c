// SPDX-License-Identifier: Apache-2.0
//
// The module's C side, whole, with a worker that says what the fuzzer wants:
//   fuzz CONFDIR <INPUTS    each input is its length in decimal, a newline and its bytes
// Each is one opening of a session. The answer is a line: what it returned, how
// many lines were logged and told to the user, the longest of them, and how many
// held a byte that does not belong in a log.
#define _GNU_SOURCE
#include "../berth.h"

#include <security/pam_appl.h>
#include <security/pam_ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char input[1 << 20];
static size_t length, longest;
static int logged, told, odd;

static void look(const char *text)
{
	size_t n = strlen(text);
	if (n > longest)
		longest = n;
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f) {
			odd++;
			return;
		}
}

/* In the place of libpam's, which would ask for a syslog daemon. */
void pam_vsyslog(const pam_handle_t *pamh, int priority, const char *fmt, va_list args)
{
	char *text = NULL;
	(void)pamh, (void)priority;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	logged++;
	look(text);
	free(text);
}

void pam_syslog(const pam_handle_t *pamh, int priority, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	pam_vsyslog(pamh, priority, fmt, args);
	va_end(args);
}

struct passwd *pam_modutil_getpwnam(pam_handle_t *pamh, const char *user)
{
	static char name[] = "nina", home[] = "/proc/berth-fuzz", empty[] = "";
	static struct passwd nina = { .pw_name = name, .pw_uid = 4711, .pw_gid = 4711, .pw_dir = home, .pw_shell = empty, .pw_passwd = empty, .pw_gecos = empty };
	(void)pamh, (void)user;
	return &nina;
}

/* The worker: what the C side's child would become. */
int execve(const char *path, char *const argv[], char *const envp[])
{
	(void)path, (void)argv, (void)envp;
	for (size_t at = 0; at < length;) {
		ssize_t n = write(RESULT_FD, input + at, length - at);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	_exit(0);
}

static int talk(int n, const struct pam_message **m, struct pam_response **r, void *data)
{
	(void)data;
	*r = calloc((size_t)n, sizeof **r);
	for (int i = 0; i < n; i++, told++)
		look(m[i]->msg);
	return PAM_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct pam_conv conv = { talk, NULL };
	const char *debug[] = { "debug" };
	pam_handle_t *pamh;

	if (argc != 2 || pam_start_confdir("fuzz", "nina", &conv, argv[1], &pamh) != PAM_SUCCESS)
		return 2;
	while (scanf("%zu", &length) == 1 && getchar() == '\n') {
		if (length > sizeof input || fread(input, 1, length, stdin) != length)
			return 2;
		longest = 0;
		logged = told = odd = 0;
		int result = pam_sm_open_session(pamh, 0, 1, debug);
		printf("result %d logged %d told %d longest %zu odd %d\n", result, logged, told, longest, odd);
		fflush(stdout);
	}
	return pam_end(pamh, PAM_SUCCESS);
}
