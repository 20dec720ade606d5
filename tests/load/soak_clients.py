"""Clients that misbehave, and the backend that they ask, for the soak.

`backend HOST PORT` serves `/scripted/...`; `clients HOST PORT SECONDS` runs one loop for each kind of client and exits with 1
if one of them got what it must not get.
"""

import asyncio
import struct
import socket
import sys
import time


async def read_head(reader):
    return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")


async def serve(reader, writer):
    try:
        while True:
            head = await read_head(reader)
            target = head.split(" ")[1]
            length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0)
            if target == "/scripted/upgrade":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                break
            body = await reader.readexactly(length)
            if target == "/scripted/break":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                await writer.drain()
                break
            if target == "/scripted/stall":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                await writer.drain()
                await reader.read(1)
                break
            answer = str(len(body)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Clients:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.counts = {}

    async def ask(self, target, headers="", body=b"", method="GET"):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        return reader, writer

    async def upload(self):
        body = b"x" * 300_000
        reader, writer = await self.ask("/scripted/upload", f"Content-Length: {len(body)}\r\nConnection: close\r\n", body, "POST")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n300000"), answer

    async def tunnel(self):
        reader, writer = await self.ask("/scripted/upgrade", "Connection: upgrade\r\nUpgrade: websocket\r\n")
        assert (await read_head(reader)).startswith("HTTP/1.1 101 ")
        for _ in range(20):
            writer.write(b"y" * 10_000)
            assert await reader.readexactly(10_000) == b"y" * 10_000
        writer.close()

    async def truncated(self):
        reader, writer = await self.ask("/scripted/break", "Connection: close\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.endswith(b"half"), answer

    async def stalled(self):
        reader, writer = await self.ask("/scripted/stall", "Connection: close\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.endswith(b"half"), answer

    async def leaves(self):
        _, writer = await self.ask("/", "Content-Length: 1000\r\n", b"part", "POST")
        await writer.drain()
        reset(writer)

    async def slow_head(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(b"GET / HT")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 "), answer

    async def nonsense(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(b"\x16\x03\x01\x02\x00\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 "), answer

    async def repeat(self, kind, ends):
        while time.monotonic() < ends:
            await getattr(self, kind)()
            self.counts[kind] = self.counts.get(kind, 0) + 1


async def clients(host, port, seconds):
    all_of_them = Clients(host, port)
    kinds = ["upload", "tunnel", "truncated", "stalled", "leaves", "slow_head", "nonsense"]
    ends = time.monotonic() + seconds
    await asyncio.gather(*(all_of_them.repeat(kind, ends) for kind in kinds))
    print(all_of_them.counts)


async def main():
    role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if role == "backend":
        server = await asyncio.start_server(serve, host, port, backlog=1000)
        await server.serve_forever()
    await clients(host, port, float(sys.argv[4]))


asyncio.run(main())
