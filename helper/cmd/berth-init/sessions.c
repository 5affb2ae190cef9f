// SPDX-License-Identifier: Apache-2.0
//
// Process: berth-init. As: container root.
//
// The sessions, by whichever transport. A supervisor connects while it is still
// root, says which user it is about to become, and hands over a copy of the session's
// lifeline. The connection is open for as long as the supervisor lives. The copy
// tells us that the other end has gone, even when the supervisor is stopped and does
// not notice.

#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How long we wait for what a killed supervisor left to become ours. */
#define ORPHANS_TIMEOUT_MS 10000
#define LOOK_INTERVAL_MS 20
/* What lives for a moment was found by one of so many. */
#define MIN_LOOKS 5
/* How long one that is done with its session may take to exit. */
#define EXIT_TIMEOUT_MS 100
/* After a connection could not be accepted: what it takes is given back, one day. */
#define ACCEPT_RETRY_MS 100

struct session sessions[MAX_SESSIONS];
size_t sessions_used;
static long next_look;       /* for orphans; 0: none are expected */
static long accept_retry_at; /* when; 0: supervisors are accepted as they come */

static struct session *free_slot(void)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++)
		if (sessions[i].state == FREE) {
			if (i >= sessions_used)
				sessions_used = i + 1;
			return &sessions[i];
		}
	return NULL;
}

int session_is_counted(const struct session *s)
{
	return s->state == HELD_BACK || s->state == OPEN || s->state == ENDING;
}

size_t session_count(uid_t uid)
{
	size_t n = 0;
	for (size_t i = 0; i < sessions_used; i++)
		n += session_is_counted(&sessions[i]) && (uid == UID_NONE || sessions[i].uid == uid);
	return n;
}

int session_is_supervisor(pid_t pid)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (sessions[i].pid == pid && session_is_counted(&sessions[i]))
			return 1;
	return 0;
}

/* Whether anything of the user's may be alive. */
static int user_has_any(uid_t uid)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (sessions[i].state > SPARE && sessions[i].uid == uid)
			return 1;
	return 0;
}

/* A lifeline that is closed here is open in its supervisor, and epoll would go on
 * to report it (epoll(7), questions and answers). */
void session_close_fd(int *fd)
{
	if (*fd >= 0) {
		unwatch(*fd);
		close(*fd);
	}
	*fd = -1;
}

static void free_session(struct session *s)
{
	uid_t uid = s->uid;
	gid_t gid = s->gid;
	/* What may outlive the session is left alone until its time is over. */
	int sweep_due = s->state > HELD_BACK && (!s->linger || (s->lingers_until && s->lingers_until <= now_ms()));

	if (s->state > SPARE)
		lease_used();

	session_close_fd(&s->connection);
	session_close_fd(&s->lifeline);
	*s = (struct session){ .state = FREE };
	while (sessions_used && sessions[sessions_used - 1].state == FREE)
		sessions_used--;
	if (sweep_due && !user_has_any(uid)) {
		user_kill(uid);
		sweep_user(uid, gid);
	}
}

int session_adopt(const struct session *from)
{
	struct session *s = free_slot();
	if (!s)
		return -1;
	*s = *from;
	size_t i = (size_t)(s - sessions);
	if ((s->connection < 0 || watch_fd(s->connection, EPOLLIN, SOURCE_SUPERVISOR, i) == 0) &&
	    (s->lifeline < 0 || watch_fd(s->lifeline, EPOLLRDHUP, SOURCE_LIFELINE, i) == 0))
		return 0;
	int failure = errno;
	if (s->connection >= 0)
		unwatch(s->connection);
	*s = (struct session){ .state = FREE };
	errno = failure;
	return -1;
}

void session_accept(void)
{
	struct session s = { .state = SPARE, .lifeline = -1 };

	s.connection = accept4(keeper.register_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* It goes on waiting, and epoll would go on to say so. */
	if (s.connection < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		logf_uid(0, "supervisors cannot register for now: %s", strerror(errno));
		unwatch(keeper.register_listener);
		accept_retry_at = now_ms() + ACCEPT_RETRY_MS;
		return;
	}
	close_unless_root(&s.connection, 0, &s.pid);
	if (s.connection >= 0 && session_adopt(&s) != 0)
		close(s.connection);
}

void session_send(const struct session *s, const char *text)
{
	if (send(s->connection, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* it has died: its connection says so next */
}

static void open_session(struct session *s)
{
	s->state = OPEN;
	session_send(s, s->gives_id ? "ok id" : "ok");
}

void sessions_let_in(uid_t uid)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (sessions[i].state == HELD_BACK && sessions[i].uid == uid)
			open_session(&sessions[i]);
}

/* What a supervisor says before it is the user: "uid gid limit linger direct seconds". The
 * last is how long what it leaves may linger, 0: for ever. A supervisor from before that
 * was said gives no id either. */
static void register_supervisor(struct session *s, const char *text, int lifeline)
{
	unsigned long uid, gid, limit;

	s->lifeline = lifeline;
	if (lifeline < 0) { /* "done": it ends before it had a session */
		free_session(s);
		return;
	}
	int n = sscanf(text, "%lu %lu %lu %d %d %d", &uid, &gid, &limit, &s->linger, &s->direct, &s->linger_seconds);
	if (n < 5 || uid == 0) {
		logf_uid(0, "the supervisor %d sent something unknown: %s", (int)s->pid, text);
		free_session(s);
		return;
	}
	if (keeper.stop_at) {
		session_send(s, "stopped");
		free_session(s);
		return;
	}
	if (session_count((uid_t)uid) >= limit) {
		session_send(s, "full");
		logf_uid((uid_t)uid, "refused uid %lu: too many sessions", uid);
		free_session(s);
		return;
	}
	s->gives_id = n == 6;
	s->uid = (uid_t)uid;
	s->gid = (gid_t)gid;
	s->since = (long long)time(NULL);
	if (watch_fd(lifeline, EPOLLRDHUP, SOURCE_LIFELINE, (size_t)(s - sessions)) != 0) {
		session_send(s, "failed");
		free_session(s);
		return;
	}
	s->state = HELD_BACK;
	if (sweep_is_running(s->uid))
		sweep_shorten(s->uid);
	else
		open_session(s);
}

static const struct session *find_id(const char *id)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (!strcmp(sessions[i].id, id))
			return &sessions[i];
	return NULL;
}

/* Package sessionlog, validID: 8 hexadecimal digits, or two times 8. */
static int is_id(const char *id)
{
	const char digits[] = "0123456789abcdef";
	size_t n = strlen(id);

	return strspn(id, digits) == 8 && (n == 8 || (n == 17 && id[8] == '-' && strspn(id + 9, digits) == 8));
}

/* What the user's own end calls the session: nobody's word but theirs. It is taken once, and
 * not from two sessions. */
static void name_session(struct session *s, const char *id)
{
	if (!s->id[0] && is_id(id) && !find_id(id))
		strcpy(s->id, id);
}

const char *session_name(const struct session *s)
{
	static char text[96];
	int n = snprintf(text, sizeof text, "the supervisor %d of uid %lu", (int)s->pid, (unsigned long)s->uid);

	if (s->id[0])
		snprintf(text + n, sizeof text - (size_t)n, " (id %s)", s->id);
	return text;
}

/* After another program took over: the sweep that a user was held back for may be over. */
void sessions_after_resume(void)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (sessions[i].state == HELD_BACK && sweep_is_running(sessions[i].uid))
			sweep_shorten(sessions[i].uid);
		else if (sessions[i].state == HELD_BACK)
			open_session(&sessions[i]);
	/* A supervisor may have died in between. */
	sessions_expect_orphans();
}

/* A supervisor has died: its processes are our children now, or soon will be. */
void sessions_expect_orphans(void)
{
	next_look = now_ms();
}

/* The supervisor's connection: what it says, or its death. */
void session_receive(size_t i)
{
	struct session *s = &sessions[i];
	char text[128], room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = { text, sizeof text - 1 };
	/* CMSG_SPACE has room for two. */
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = CMSG_LEN(sizeof(int)) };
	int lifeline = -1;

	if (s->state == FREE || s->connection < 0)
		return;
	ssize_t n = recvmsg(s->connection, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); n > 0 && c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(&lifeline, CMSG_DATA(c), sizeof lifeline);
	if (n > 0 && s->state == SPARE) {
		text[n] = 0;
		register_supervisor(s, text, lifeline);
		return;
	}
	if (lifeline >= 0)
		close(lifeline);
	if (s->state == SPARE || s->state == HELD_BACK) {
		free_session(s);
		return;
	}
	text[n > 0 ? n : 0] = 0;
	if (!strncmp(text, "id ", 3)) {
		name_session(s, text + 3);
		return;
	}
	/* "done": nothing is left of the session but the supervisor itself. */
	if (n > 0) {
		session_close_fd(&s->connection);
		session_close_fd(&s->lifeline);
		s->state = LEAVING;
		s->deadline = now_ms() + EXIT_TIMEOUT_MS;
		return;
	}
	/* It was killed. What it left becomes ours when the kernel is done with it,
	 * which is soon. Closing the lifeline tells the other end now. */
	logf_uid(s->uid, "%s was killed; its session is ended", session_name(s));
	session_close_fd(&s->connection);
	session_close_fd(&s->lifeline);
	s->state = DYING;
	s->deadline = now_ms() + ORPHANS_TIMEOUT_MS;
	sessions_expect_orphans();
}

/* The session's other end has gone, or has been told to. */
void session_lifeline_event(size_t i)
{
	struct session *s = &sessions[i];
	struct pollfd p = { .fd = s->lifeline, .events = POLLRDHUP };

	/* The event may be of the session that this slot held before: ask again. */
	if (s->lifeline < 0 || poll(&p, 1, 0) <= 0)
		return;
	session_close_fd(&s->lifeline);
	if (s->state == OPEN && !s->linger) {
		s->state = ENDING;
		s->deadline = now_ms() + TERMINATE_TIMEOUT_MS;
	} else if (s->state == OPEN && s->linger_seconds) {
		s->lingers_until = now_ms() + s->linger_seconds * 1000L;
	}
}

int sessions_remain(void)
{
	for (size_t i = 0; i < sessions_used; i++)
		if (session_is_counted(&sessions[i]) || sessions[i].state == DYING)
			return 1;
	return 0;
}

/* Who starts another process and ends, over and over, may be met by no look. But each
 * of these ends as our child. One that was started after several looks, each of which
 * has stopped and killed all that it found, is such a one's. To find it is not
 * possible, and what ends it ends all that is this user's (user_kill). */
void session_orphan_exit(pid_t pid, uid_t uid)
{
	int dying = 0, escaped = 1;

	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (s->pid == pid && s->state != FREE)
			return; /* a supervisor whose parent, a spawner, has ended */
		if (s->state != DYING || s->uid != uid || s->linger)
			continue;
		s->orphan_exits = 1;
		dying = 1;
		escaped = escaped && s->looks >= MIN_LOOKS && process_started(pid) > s->looked_at;
	}
	if (!dying || !escaped || session_count(uid) == 0)
		return;
	logf_uid(uid, "processes of uid %lu fork and exit too quickly to be found: all sessions of that user are ended",
		 (unsigned long)uid);
	sessions_tell_killed(uid, "all your sessions were ended: one of them left processes that start others and end too quickly to be found");
	user_kill(uid);
}

/* Ends what dead supervisors left, again and again until a look finds nothing. That
 * look counts only if the supervisors had gone before it: until then the kernel may
 * not have given us all of their processes. And nothing may have ended since the look
 * before it, which could have started what neither of them met. What does not die (it
 * hangs in the kernel) is looked for less and less often. */
static void kill_orphans(long now)
{
	static int looks;
	int busy = 0;

	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (s->state != DYING)
			continue;
		if (session_count(s->uid) == 0)
			user_kill(s->uid);
		if (s->pid && (kill(s->pid, 0) != 0 || now >= s->deadline))
			s->pid = 0;
	}
	int left = orphans_kill();
	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (s->state != DYING)
			continue;
		if (s->pid == 0 && ++s->looks == MIN_LOOKS)
			s->looked_at = boot_ms();
		int done = left == 0 && s->looks > 1 && !s->orphan_exits;
		s->orphan_exits = 0;
		if (s->pid == 0 && (done || now >= s->deadline))
			free_session(s);
		else
			busy = 1;
	}
	looks = left || busy ? looks + 1 : 0;
	next_look = left || busy ? now + (LOOK_INTERVAL_MS << (looks / 32 < 7 ? looks / 32 : 7)) : 0;
}

void sessions_tick(long now, long *next)
{
	for (size_t i = 0; i < sessions_used; i++) {
		struct session *s = &sessions[i];
		if (s->state == OPEN && s->lingers_until && s->lingers_until <= now) {
			s->state = ENDING; /* the supervisor has the same time, and begins now */
			s->deadline = now + TERMINATE_TIMEOUT_MS;
		}
		if (s->state == OPEN)
			set_earlier(next, s->lingers_until);
		if (s->state != ENDING && s->state != LEAVING)
			continue;
		if (s->deadline <= now && s->state == LEAVING) {
			free_session(s);
			continue;
		}
		if (s->deadline <= now) {
			/* It is stopped, or traced, or hangs. Its connection is open, so
			 * the pid is still its own. */
			logf_uid(s->uid, "%s does not end its session and is killed", session_name(s));
			kill(s->pid, SIGKILL);
			s->deadline = now + TERMINATE_TIMEOUT_MS;
		}
		set_earlier(next, s->deadline);
	}
	if (next_look && next_look <= now)
		kill_orphans(now);
	set_earlier(next, next_look);
	if (accept_retry_at && accept_retry_at <= now)
		accept_retry_at = watch_fd(keeper.register_listener, EPOLLIN, SOURCE_REGISTER_LISTENER, 0) == 0 ? 0 : now + ACCEPT_RETRY_MS;
	set_earlier(next, accept_retry_at);
}
