// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// What root of the host may ask: a word and a number in a line, answered in lines.
//
//	count        key=value lines
//	list FROM    a line "PID UID SECONDS-SINCE-1970 direct|exec ID" for each session, from
//	             the slot FROM on; at last "more FROM", or "end". ID is the session's in
//	             the log of sessions, or "-". More words may follow it one day.
//	end PID [WORDS]
//	             ends the session of the supervisor PID; the user reads the words
//	tell WORDS   shows the words on the terminal of each session that has one
//	renew        has the installed programs and the rules of now take over; sessions go on
//
// The answer to end, tell and renew is "ok", or why not. WORDS are MAX_WORDS bytes at most,
// none of them a control character.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_TIMEOUT_MS 5000
/* After a connection could not be accepted. */
#define ACCEPT_RETRY_MS 100
#define SESSIONS_PER_PAGE 1000

static struct request {
	int fd;
	long deadline; /* 0: not in use */
} requests[16];
static int renewal_fd = -1;
static long accept_retry_at; /* when; 0: they are accepted as they come */

void control_accept(void)
{
	int fd = accept4(keeper.control_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* It goes on waiting, and epoll would go on to say so. */
	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		unwatch(keeper.control_listener);
		accept_retry_at = now_ms() + ACCEPT_RETRY_MS;
	}
	close_unless_root(&fd, 1, NULL);
	if (fd < 0)
		return;
	for (size_t i = 0; i < LENGTH(requests); i++)
		if (!requests[i].deadline) {
			if (watch_fd(fd, EPOLLIN, SOURCE_CONTROL, i) != 0)
				break;
			requests[i] = (struct request){ fd, now_ms() + REQUEST_TIMEOUT_MS };
			return;
		}
	close(fd);
}

static void close_request(struct request *r)
{
	close(r->fd);
	r->deadline = 0;
}

int control_renewal_fd(void)
{
	return renewal_fd;
}

/* Answers a connection and closes it. */
void control_answer(int fd, const char *text)
{
	char line[256];
	int n = snprintf(line, sizeof line, "%s\n", text);
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		logf_uid(0, "nobody took an answer: %s", strerror(errno));
	close(fd);
	if (fd == renewal_fd)
		renewal_fd = -1;
}

static void answer_count(int fd)
{
	char text[512];
	size_t spare = 0, ending = 0;

	for (size_t i = 0; i < sessions_used; i++) {
		spare += sessions[i].state == SPARE;
		ending += sessions[i].state == ENDING || sessions[i].state == DYING;
	}
	snprintf(text, sizeof text, "sessions=%zu\nending=%zu\nspare=%zu\nserver=%d\nstandby=%d\nspawner=%d\nserving=%d\non_demand=%d",
		 session_count(UID_NONE), ending, spare, (int)keeper.active.pid, (int)keeper.standby.pid, (int)keeper.spawner, keeper.serving,
		 rules.on_demand);
	control_answer(fd, text);
}

static void answer_list(int fd, size_t from)
{
	static char text[SESSIONS_PER_PAGE * 96];
	size_t n = 0, i, shown = 0;

	for (i = from; i < sessions_used && shown < SESSIONS_PER_PAGE; i++) {
		const struct session *s = &sessions[i];
		if (s->state <= SPARE || s->state >= DYING)
			continue;
		n += (size_t)snprintf(text + n, sizeof text - n, "%d %lu %lld %s %s\n", (int)s->pid, (unsigned long)s->uid, s->since,
				      s->direct ? "direct" : "exec", s->id[0] ? s->id : "-");
		shown++;
	}
	if (i < sessions_used)
		n += (size_t)snprintf(text + n, sizeof text - n, "more %zu\n", i);
	else
		n += (size_t)snprintf(text + n, sizeof text - n, "end\n");
	if (send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
		logf_uid(0, "nobody took a list: %s", strerror(errno));
	close(fd);
}

static void answer_renew(int fd)
{
	if (keeper.stop_at) {
		control_answer(fd, "the container is being stopped");
		return;
	}
	renewal_fd = fd;
	resume_exec();
	/* We get here only if the new program could not be run. */
	int failure = errno;
	const char *problem = keeper_renew();
	control_answer(fd, problem ? problem : strerror(failure));
}

/* Cuts the line's end off, and returns whether these are words for users. */
static int take_words(char *words)
{
	size_t n = strcspn(words, "\n");

	words[n] = 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)words[i] < ' ' || words[i] == 0x7f)
			return 0;
	return n <= MAX_WORDS;
}

/* "PID\n" or "PID WORDS\n". */
static void answer_end(int fd, char *rest)
{
	char *words;
	unsigned long pid = strtoul(rest, &words, 10);
	const char *problem = "these are no words for a user";

	words += *words == ' ';
	if (take_words(words))
		problem = session_end((pid_t)pid, words);
	control_answer(fd, problem ? problem : "ok");
}

static void answer_tell(int fd, char *words)
{
	int valid = take_words(words);

	if (valid)
		sessions_notify(words);
	control_answer(fd, valid ? "ok" : "these are no words for a user");
}

void control_receive(size_t i)
{
	struct request *r = &requests[i];
	char text[MAX_WORDS + 64];
	unsigned long number;

	if (!r->deadline)
		return;
	ssize_t n = recv(r->fd, text, sizeof text - 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	text[n > 0 ? n : 0] = 0;
	if (n <= 0 || (!strchr(text, '\n') && n == sizeof text - 1)) {
		close_request(r);
		return;
	}
	if (!strchr(text, '\n'))
		return;
	/* Read it: closing a connection with unread bytes would lose the answer. */
	if (recv(r->fd, text, (size_t)n, MSG_DONTWAIT) != n) {
		close_request(r);
		return;
	}
	int fd = dup(r->fd); /* epoll does not watch this one; what answers closes it */
	close_request(r);
	if (fd < 0)
		return;
	if (!strcmp(text, "count\n"))
		answer_count(fd);
	else if (sscanf(text, "list %lu\n", &number) == 1)
		answer_list(fd, number);
	else if (!strncmp(text, "end ", 4))
		answer_end(fd, text + 4);
	else if (!strncmp(text, "tell ", 5))
		answer_tell(fd, text + 5);
	else if (!strcmp(text, "renew\n"))
		answer_renew(fd);
	else
		control_answer(fd, "that is not understood: it is from another version of berth");
}

void control_tick(long now, long *next)
{
	if (accept_retry_at && accept_retry_at <= now)
		accept_retry_at = watch_fd(keeper.control_listener, EPOLLIN, SOURCE_CONTROL_LISTENER, 0) == 0 ? 0 : now + ACCEPT_RETRY_MS;
	set_earlier(next, accept_retry_at);
	for (size_t i = 0; i < LENGTH(requests); i++) {
		struct request *r = &requests[i];
		if (r->deadline && r->deadline <= now)
			close_request(r);
		else
			set_earlier(next, r->deadline);
	}
}

void control_set_renewal_fd(int fd)
{
	renewal_fd = fd;
}
