// SPDX-License-Identifier: Apache-2.0
// libssh PORT KEY USER TARGET-PORT CLIENT-PORT: the port of the far side leads to nobody's
// program here; what it gives the caller is said in this one.

#include <libssh/libssh.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ssh_session session;

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, ssh_get_error(session));
		exit(1);
	}
}

static void print_all(ssh_channel channel)
{
	char text[256];
	int n;
	while ((n = ssh_channel_read(channel, text, sizeof text, 0)) > 0)
		fwrite(text, 1, n, stdout);
}

int main(int argc, char **argv)
{
	int port = atoi(argc == 6 ? argv[1] : "0"), far = 0;
	ssh_key key;
	char command[64];

	session = ssh_new();
	ssh_options_set(session, SSH_OPTIONS_HOST, "127.0.0.1");
	ssh_options_set(session, SSH_OPTIONS_PORT, &port);
	ssh_options_set(session, SSH_OPTIONS_USER, argv[3]);
	check(ssh_connect(session) == SSH_OK, "connect");
	check(ssh_pki_import_privkey_file(argv[2], NULL, NULL, NULL, &key) == SSH_OK, "key");
	check(ssh_userauth_publickey(session, NULL, key) == SSH_AUTH_SUCCESS, "authentication");
	ssh_channel near = ssh_channel_new(session);
	check(ssh_channel_open_forward(near, "127.0.0.1", atoi(argv[4]), "127.0.0.1", 1) == SSH_OK, "local forward");
	ssh_channel_send_eof(near);
	print_all(near);
	check(ssh_channel_listen_forward(session, "127.0.0.1", 0, &far) == SSH_OK, "remote forward");
	ssh_channel shell = ssh_channel_new(session);
	check(ssh_channel_open_session(shell) == SSH_OK, "session");
	snprintf(command, sizeof command, "./rig dial 127.0.0.1:%d", far);
	check(ssh_channel_request_exec(shell, command) == SSH_OK, "command");
	ssh_channel back = ssh_channel_open_forward_port(session, 30000, &far, NULL, NULL);
	check(back != NULL, "connection from the far side");
	static const char word[] = "outside\n";
	check(ssh_channel_write(back, word, strlen(word)) == (int)strlen(word), "word");
	ssh_channel_close(back);
	print_all(shell);
	ssh_disconnect(session);
	return 0;
}
