"""A keep-alive client of two instances while they are restarted in turns.

    rolling_client.py HTTP,ADMIN HTTP,ADMIN

Runs until SIGTERM and then prints what it saw, as JSON. Nothing is ever sent a second time: a request that gets no
whole 200 has failed. Two kinds of clients share the work:

* `front` is a load balancer in front. It asks /readyz and sends only to instances that are ready, so even a refused
  connection is a failure.
* `direct` knows nothing of readiness. It stays with an instance until that says `Connection: close`, and then, or when
  a connection is refused, goes to the other one.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections import Counter

CLIENTS_OF_EACH_KIND = 12
READY_EVERY_SECONDS = 0.05
ANSWER_SECONDS_MAX = 10


class Instance:
    def __init__(self, text):
        self.http, self.admin = ((host, int(port)) for host, port in (part.rsplit(":", 1) for part in text.split(",")))
        self.is_ready = False

    async def watch(self):
        while True:
            try:
                status, _ = await asyncio.wait_for(self.ask_ready(), 1)
                self.is_ready = status == 200
            except (OSError, EOFError, asyncio.TimeoutError):
                self.is_ready = False
            await asyncio.sleep(READY_EVERY_SECONDS)

    async def ask_ready(self):
        connection = Connection(*await asyncio.open_connection(*self.admin))
        try:
            return await connection.get("/readyz")
        finally:
            connection.close()


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def get(self, path):
        """Returns the status, and whether the connection may be used again."""
        self.writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status_line, *lines = head.split("\r\n")
        headers = dict(line.split(":", 1) for line in lines if line)
        await self.reader.readexactly(int(headers["content-length"]))
        return int(status_line.split()[1]), "close" not in headers.get("connection", "")

    def close(self):
        self.writer.close()


class Client:
    def __init__(self, kind, instances, first, seen, stop):
        self.kind, self.instances, self.turn, self.seen, self.stop = kind, instances, first, seen, stop
        self.connections = {}

    async def run(self):
        while not self.stop.is_set():
            instance = self.choose()
            if instance is None:
                self.seen["failed: no instance was ready"] += 1
                await asyncio.sleep(READY_EVERY_SECONDS)
                continue
            try:
                connection = self.connections.get(instance)
                if connection is None:
                    connection = Connection(*await asyncio.open_connection(*instance.http))
                    self.connections[instance] = connection
                    self.seen[f"{self.kind} connections"] += 1
            except OSError as error:
                if self.kind == "direct":
                    self.seen["direct clients sent elsewhere"] += 1
                    self.turn += 1
                    await asyncio.sleep(0.001)
                else:
                    self.seen[f"failed: front could not connect: {error!r}"] += 1
                continue
            await self.ask(instance, connection)
        for instance in list(self.connections):
            self.leave(instance)

    async def ask(self, instance, connection):
        try:
            status, stays = await asyncio.wait_for(connection.get("/"), ANSWER_SECONDS_MAX)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.seen[f"failed: {self.kind}: {error!r}"] += 1
            self.leave(instance)
            return
        self.seen[f"{self.kind} answers"] += 1
        self.seen["answers"] += 1
        if status != 200:
            self.seen[f"failed: {self.kind}: status {status}"] += 1
        if not stays:
            self.seen[f"{self.kind} told to leave"] += 1
            self.leave(instance)
            self.turn += 1

    def choose(self):
        if self.kind == "direct":
            return self.instances[self.turn % len(self.instances)]
        for instance in self.instances:
            if not instance.is_ready and instance in self.connections:
                self.leave(instance)
        ready = [instance for instance in self.instances if instance.is_ready]
        self.turn += 1
        return ready[self.turn % len(ready)] if ready else None

    def leave(self, instance):
        self.connections.pop(instance).close()


async def main():
    instances = [Instance(text) for text in sys.argv[1:]]
    stop, seen = asyncio.Event(), Counter()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    watches = [asyncio.create_task(instance.watch()) for instance in instances]
    while not all(instance.is_ready for instance in instances):
        await asyncio.sleep(READY_EVERY_SECONDS)
    clients = [
        Client(kind, instances, first, seen, stop).run()
        for kind in ("front", "direct")
        for first in range(CLIENTS_OF_EACH_KIND)
    ]
    await asyncio.gather(*clients)
    for watch in watches:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    seen["failed"] = sum(count for what, count in seen.items() if what.startswith("failed: "))
    print(json.dumps(seen, indent=1, sort_keys=True))


asyncio.run(main())
