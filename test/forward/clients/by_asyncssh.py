# SPDX-License-Identifier: Apache-2.0
# by_asyncssh.py PORT KEY USER TARGET-PORT CLIENT-PORT
import asyncio
import sys

import asyncssh

port, key, user, target, client = sys.argv[1:]


async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=None) as c:
        reader, writer = await c.open_connection("127.0.0.1", int(target))
        writer.write_eof()
        print((await reader.read()).decode(), end="")
        far = await c.forward_remote_port("127.0.0.1", 0, "127.0.0.1", int(client))
        print((await c.run("./rig dial 127.0.0.1:%d" % far.get_port())).stdout, end="")


asyncio.run(main())
