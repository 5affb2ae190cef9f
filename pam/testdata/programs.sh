# SPDX-License-Identifier: Apache-2.0
#
# Makes of a mount namespace a Debian on which the programs run that log people
# in: Debian's own files in /etc/pam.d, with the module where they all look. $S is
# the site's directory, $LINE what stands where pam_mkhomedir stood. Read by bash,
# which is the first process of its own pid namespace.
umask 022
mkdir -p "$S/new/etc"
cp -a /etc/{pam.d,security,ld.so.cache,nsswitch.conf,passwd,login.defs,skel} "$S/new/etc"
fresh /etc /run /var/log /var/mail /var/spool/cron
mkdir -p /run/sshd /run/nina /var/spool/cron/crontabs
chown nina /run/nina
touch /etc/environment /etc/crontab
echo 'PS1="$ "' >/etc/profile
echo "127.0.0.1 localhost $(uname -n)" >/etc/hosts
printf '%s\n' root:x:0: tty:x:5: mail:x:8: shadow:x:42: utmp:x:43: crontab:x:991: nogroup:x:65534: nina:x:4711: otto:x:4713: >/etc/group
# The password is berth.
hash='$6$berth$EXvVBVlZHht/1HT.oJNall/D6i0afrkSFsdWQyadzsWKegj0wdjnqL9kT.VuhZnQuDpuRjul.JOKTCLMd1diL1'
printf '%s\n' 'root:*:19000::::::' "nina:$hash:19000::::::" "otto:$hash:19000::::::" >/etc/shadow
printf '%s\n' 'Defaults lecture=never' 'root ALL=(ALL) ALL' 'otto ALL=(ALL) ALL' >/etc/sudoers
chmod 440 /etc/sudoers
echo 'auth required pam_unix.so' >/etc/pam.d/common-auth
echo 'account required pam_unix.so' >/etc/pam.d/common-account
echo 'password required pam_unix.so' >/etc/pam.d/common-password
printf '%s\n' 'session required pam_unix.so' "session required $LINE" |
	tee /etc/pam.d/common-session >/etc/pam.d/common-session-noninteractive
# runuser's file includes none of these.
echo "session required $LINE" >>/etc/pam.d/runuser

# What every session runs: who and where she is, and what it finds of a worker
# that is left, or of a child that nobody took; the children of the test's own
# shell come and go.
cat >"$S/inside" <<'END'
#!/bin/sh
echo "$(id -un) in $PWD, $(if [ -t 0 ]; then echo a terminal; else echo none; fi)"
ps -N --ppid 1 -o stat= -o pid= -o args= | grep -E '^Z|[p]am_berth berth-' >&2
exit 7
END
chmod 755 "$S/inside"

# otto runs a command, as an ordinary user, on the terminal. The terminal's own
# session is outside of the pid namespace.
otto() { setsid --ctty --wait setpriv --reuid 4713 --regid 4713 --clear-groups "$@"; }

# Starts sshd on a port of the loopback's that is free.
serve() {
	[ -e "$S/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$S/key"
	chmod 644 "$S/key.pub"
	cat >"$S/sshd_config" <<-CONF
		ListenAddress 127.0.0.1
		HostKey $S/key
		AuthorizedKeysFile $S/key.pub
		StrictModes no
		UsePAM yes
		PasswordAuthentication yes
		KbdInteractiveAuthentication yes
		PrintMotd no
		UseDNS no
		PidFile /run/sshd.pid
	CONF
	for _ in 1 2 3 4 5 6 7 8; do
		port=$((20000 + RANDOM % 12000))
		/usr/sbin/sshd -D -f "$S/sshd_config" -p "$port" 2>/dev/null &
		sshd=$!
		until [ -s /run/sshd.pid ]; do
			kill -0 $sshd 2>/dev/null || continue 2
			sleep 0.02
		done
		return
	done
	return 1
}

# Logs in to it from afar: the first argument is a way to prove who one is.
remote() {
	local by=$1
	shift
	printf '#!/bin/sh\necho berth\n' >"$S/askpass"
	chmod 755 "$S/askpass"
	SSH_ASKPASS=$S/askpass SSH_ASKPASS_REQUIRE=force ssh -F none -p "$port" -l nina -i "$S/key" -o IdentitiesOnly=yes -o IdentityAgent=none \
		-o PreferredAuthentications="$by" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"
}

# What a PAM module could leave in the process of sshd's that opened the session.
monitor() {
	local pid
	pid=$(pgrep -f '^sshd: nina \[priv\]')
	grep -E '^(Threads|Sig(Pnd|Blk|Ign|Cgt)|ShdPnd):' "/proc/$pid/status"
	find "/proc/$pid/fd" -mindepth 1 -printf 'fd %f\n' | sort
	ps -o args= --ppid "$pid"
}

# Waits until all but this shell have ended, and shows who has not.
alone() {
	local n=0
	while set -- /proc/[0-9]*/ && [ $# -gt 1 ] && [ $((n += 1)) -lt 500 ]; do sleep 0.02; done
	[ $# = 1 ] || ps -e -o stat= -o args=
}
