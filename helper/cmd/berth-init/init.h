// SPDX-License-Identifier: Apache-2.0
//
// berth-init: the container's first process (the keeper), and what is left of a
// supervisor once its program runs (the watcher). Why this is C and not Go:
// docs/architecture.md, "berth-init".

#ifndef BERTH_INIT_H
#define BERTH_INIT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Where things are in the container. helper/internal/link/paths has the same paths
 * (TestPathsAreOneAndTheSame). */
#define GUEST "/usr/libexec/berth/berth-guest"
#define SELF "/usr/libexec/berth/berth-init"
#define PRIVATE "/run/berth/private"
#define SERVE PRIVATE "/serve"
#define SOCKET SERVE "/socket"
#define CONTROL SERVE "/control"
#define UNSETTLED SERVE "/unsettled"
#define RULES SERVE "/rules"
#define LEASE SERVE "/lease"
#define REGISTER PRIVATE "/register"

#define LENGTH(a) (sizeof(a) / sizeof *(a))

#define MAX_SESSIONS 8192
/* How long a supervisor may take to end its session when the other end is
 * gone. It asks, then tells, then kills within 2 s (package supervisor). */
#define TERMINATE_TIMEOUT_MS 2500

/* Moves *next, the time of the next act, to when if that is earlier. 0: there is none. */
static inline void set_earlier(long *next, long when)
{
	if (when && (!*next || when < *next))
		*next = when;
}

/* log.c */
void log_open(void);
/* Writes a line, unless uid has had its share. UID_NONE: about no user. */
#define UID_NONE ((uid_t)-1)
__attribute__((format(printf, 2, 3))) void logf_uid(uid_t uid, const char *format, ...);
/* Says how many lines were not written, if any: at its time, or now. */
void log_tick(long now, long *next);
void log_report_dropped(void);
long now_ms(void);

/* socket.c */
/* Makes a frame of package lifeline, whose fields are "key=value". Returns its length,
 * or 0 if size is too small. */
size_t frame_make(char *frame, size_t size, char kind, size_t n, const char *const *fields);
int listen_at(const char *path, int type, mode_t mode);
void close_unless_root(int *fd, int from_host, pid_t *pid);

/* keeper.c */
enum event_source {
	SOURCE_SIGNALS, SOURCE_CONTROL_LISTENER, SOURCE_REGISTER_LISTENER, SOURCE_CALLERS, SOURCE_CONTROL, SOURCE_SUPERVISOR, SOURCE_LIFELINE,
};
int watch_fd(int fd, uint32_t events, enum event_source source, size_t index);
void unwatch(int fd);
struct keeper {
	int serving;            /* offers the socket to the host's users, not only execs */
	int session_listener;   /* the socket of the host's users; -1: none */
	int control_listener, register_listener;
	int spawner_fd;         /* what the servers ask for supervisors by */
	pid_t spawner;
	long spawner_started;   /* when it was started */
	struct server {
		pid_t pid;
		int start_fd;   /* a byte makes it serve; -1: it does */
		long started;
	} active, standby;
	long restart_at;        /* when to look again for what does not run; 0: all does */
	long stop_at;           /* when to end, whatever is left; 0: it goes on */
	struct rlimit nofile_limit; /* of open files, as the engine set it */
};
extern struct keeper keeper;

/* servers.c */
/* Starts what should run and does not. If there is no room now, it is tried again. */
void servers_start_missing(void);
/* Replaces the servers and the spawner by new ones; NULL, or why not. */
const char *keeper_renew(void);
void servers_stop(void);
/* A child has been reaped; 1 if it was one of these. */
int servers_reaped(pid_t pid, int status);
/* Somebody has connected, and no server runs. */
void servers_caller(void);
int caller_waits(int listener);
void mark_unsettled(void);

/* rules.c */
struct rules {
	long idle_ms;           /* after so long without a use the container ends; 0: never */
	int on_demand;          /* a server runs only while somebody calls */
};
extern struct rules rules;
void rules_read(void);
/* Reads a file that root alone can have written, and puts a 0 byte behind it. Its length, or -1. */
ssize_t root_file_read(const char *path, char *buf, size_t size);

/* lease.c */
void lease_open(void);
void lease_tick(long now, long *next);
void lease_used(void);          /* a session has ended */
/* What the next program goes on with. */
int lease_format(char *text, size_t size);
void lease_parse(const char *text);

/* sessions.c */
enum state { FREE, SPARE, HELD_BACK, OPEN, ENDING, DYING, LEAVING };
struct session {
	enum state state;
	pid_t pid;              /* of the supervisor */
	uid_t uid;
	gid_t gid;
	int connection;         /* the supervisor's: it is alive while that is open */
	int lifeline;           /* a copy of the session's; -1: closed */
	int linger, direct;
	int linger_seconds;     /* how long what it leaves may linger; 0: for ever */
	long lingers_until;     /* that time, when it is over; 0: it is not */
	int gives_id;           /* its supervisor will say how it is called */
	char id[18];            /* in the log of sessions (package sessionlog); "": not known */
	long deadline;          /* in ENDING, DYING and LEAVING */
	int looks;              /* in DYING: at what is left, since the supervisor has gone */
	long looked_at;         /* after so many that what was there then has been found */
	int orphan_exits;       /* something of what is left has ended since the last look */
	long long since;        /* seconds since 1970 */
};
extern struct session sessions[MAX_SESSIONS];
extern size_t sessions_used; /* none behind it is in use */
void session_accept(void);
void session_receive(size_t i);
void session_lifeline_event(size_t i);
int session_adopt(const struct session *s);
size_t session_count(uid_t uid);
int session_is_supervisor(pid_t pid);
int session_is_counted(const struct session *s);
/* Says something to the supervisor. */
void session_send(const struct session *s, const char *text);
void session_close_fd(int *fd);
/* "the supervisor 12 of uid 1001 (id ...)", until the next call. */
const char *session_name(const struct session *s);
/* Whether one is left, or processes of one. */
int sessions_remain(void);
/* A child has ended that is none of ours; it is not reaped yet. */
void session_orphan_exit(pid_t pid, uid_t uid);
void sessions_tick(long now, long *next);
void sessions_let_in(uid_t uid);
void sessions_after_resume(void);
void sessions_expect_orphans(void);

/* tell.c */
/* The words of an administrator's, in bytes. */
#define MAX_WORDS 200
/* Ends the session of a supervisor as an administrator wants it; NULL, or why not. */
const char *session_end(pid_t pid, const char *words);
/* Shows words to every session with a terminal. */
void sessions_notify(const char *words);
/* Tells all of a user's sessions that they are being killed, and why if why is not NULL. */
void sessions_tell_killed(uid_t uid, const char *why);
/* Hangs up all sessions, because the container is being stopped. */
void sessions_hang_up(const char *why);

/* control.c */
void control_accept(void);
void control_receive(size_t i);
void control_tick(long now, long *next);
int control_renewal_fd(void);   /* a connection that waits for the answer to a renewal, or -1 */
void control_answer(int fd, const char *text);
void control_set_renewal_fd(int fd);

/* orphans.c */
void orphans_open(void);
/* Kills every process that came to us when its supervisor died, and all below.
 * Returns how many there were, or -1 if that could not be found out. */
int orphans_kill(void);
/* Kills every process of the user's, however quick they are. */
void user_kill(uid_t uid);

/* Calls f with the name of each process's directory in /proc; returns -1 if they
 * cannot be listed. process_file reads a file in such a directory; a 0 byte follows
 * what it read. */
int processes_each(void (*f)(const char *name));
ssize_t process_file(const char *name, const char *file, char *buf, size_t size);
/* When a process was started, in ms since boot; -1: it is not there. */
long process_started(pid_t pid);
long boot_ms(void);

/* memory.c */
void memory_open(void);
void memory_tick(long now, long *next);

/* sweep.c */
void sweep_open(void);
void sweep_user(uid_t uid, gid_t gid);
int sweep_is_running(uid_t uid);
int sweep_is_child(pid_t pid);
void sweep_shorten(uid_t uid);
/* Calls add with about how many KiB a user's files at the top of each shared tmpfs take. */
void sweep_weigh_files(void (*add)(uid_t uid, unsigned long long kib));
void sweep_reaped(pid_t pid, int status);
void sweeps_tick(long now, long *next);
int sweep_halt(size_t i, uid_t *uid, gid_t *gid);

/* resume.c */
void resume_exec(void);
int resume_read(int argc, char **argv);

/* watch.c */
int watch_main(int argc, char **argv);

#endif
