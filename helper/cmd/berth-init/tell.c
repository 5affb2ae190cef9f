// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// What the keeper tells a session's other end: that it is over, and why, or a word of the
// administrator's.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Hangs up with the last frame of a session, and has its supervisor end what it could let
 * linger. */
static void hang_up(struct session *s, const char *frame, size_t n)
{
	if (s->lifeline >= 0) {
		if (send(s->lifeline, frame, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			logf_uid(0, "the session of %s could not be told that it ended: %s", session_name(s), strerror(errno));
		shutdown(s->lifeline, SHUT_RDWR);
	}
	session_close_fd(&s->lifeline);
	session_send(s, "end");
	s->state = ENDING;
	s->deadline = now_ms() + TERMINATE_TIMEOUT_MS;
}

/* Tells the other end, in an Exit frame (package lifeline), that the session was
 * ended by a signal. */
static void send_exit(struct session *s, int signal)
{
	char frame[64], sig[24];

	snprintf(sig, sizeof sig, "signal=%d", signal);
	hang_up(s, frame, frame_make(frame, sizeof frame, 'X', 2, (const char *const[]){ "status=0", sig }));
}

/* The same in a Failure frame, with words for the user and the log. by is "denied=false", or
 * says that somebody wanted this end. */
static void send_failure(struct session *s, const char *why, const char *by)
{
	char frame[768], user[MAX_WORDS + 40], cause[MAX_WORDS + 40];

	snprintf(user, sizeof user, "user=%s", why);
	snprintf(cause, sizeof cause, "cause=the keeper: %s", why);
	hang_up(s, frame, frame_make(frame, sizeof frame, 'E', 4, (const char *const[]){ "status=255", user, cause, by }));
}

void sessions_tell_killed(uid_t uid, const char *why)
{
	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (!session_is_counted(s) || s->uid != uid)
			continue;
		if (why)
			send_failure(s, why, "denied=false");
		else
			send_exit(s, SIGKILL);
	}
}

void sessions_hang_up(const char *why)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (session_is_counted(&sessions[i]))
			send_failure(&sessions[i], why, "denied=false");
}

const char *session_end(pid_t pid, const char *words)
{
	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (s->pid != pid || !session_is_counted(s))
			continue;
		send_failure(s, words[0] ? words : "an administrator has ended this session", "ended=administrator");
		return NULL;
	}
	return "there is no such session";
}

/* In a Notice frame. A session that has given its id knows that frame, and is past the
 * answers that it waits for at its start. One that does not read misses it. */
void sessions_notify(const char *words)
{
	char frame[MAX_WORDS + 40], text[MAX_WORDS + 16];

	snprintf(text, sizeof text, "text=%s", words);
	size_t n = frame_make(frame, sizeof frame, 'N', 1, (const char *const[]){ text });
	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (s->state == OPEN && s->lifeline >= 0 && s->id[0] && send(s->lifeline, frame, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			logf_uid(0, "%s was not told: %s", session_name(s), strerror(errno));
	}
}
