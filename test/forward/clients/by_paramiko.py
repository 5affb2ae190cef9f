# SPDX-License-Identifier: Apache-2.0
# by_paramiko.py PORT KEY USER TARGET-PORT CLIENT-PORT
import socket
import sys

import paramiko

port, key, user, target, client = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.connect(username=user, pkey=paramiko.Ed25519Key(filename=key))
near = transport.open_channel("direct-tcpip", ("127.0.0.1", int(target)), ("127.0.0.1", 1))
near.shutdown_write()
print(near.makefile().read().decode(), end="")


def outside(channel, origin, server):
    channel.sendall(socket.create_connection(("127.0.0.1", int(client))).makefile().read().encode())
    channel.close()


far = transport.request_port_forward("127.0.0.1", 0, outside)
session = transport.open_session()
session.exec_command("./rig dial 127.0.0.1:%d" % far)
print(session.makefile().read().decode(), end="")
transport.close()
