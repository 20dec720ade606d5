"""A backend that notes each request when it arrives: counting_backend.py HOST PORT FILE

A line in FILE is the request's target. It is written before the answer, so it outlives a SIGKILL in between. /health is
answered and not noted.
"""

import asyncio
import os
import re
import sys

HEAD = re.compile(rb"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/1\.1\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"


class Backend(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (head_end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = HEAD.match(self.buffer)
            length = LENGTH.search(self.buffer, 0, head_end)
            end = head_end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < end:
                return
            self.buffer = self.buffer[end:]
            if head["target"] != b"/health":
                os.write(NOTES, head["target"] + b"\n")
            self.transport.write(ANSWER)


async def main(host, port):
    server = await asyncio.get_running_loop().create_server(Backend, host, port)
    await server.serve_forever()


NOTES = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
