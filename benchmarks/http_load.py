"""`python -m benchmarks.http_load`: asks one server the same kinds of questions as fast as it answers, and times them.

A process of its own, so that it takes no time from the server's. It reads a JSON document from standard input
(`Load`), and writes the times of every answer to standard output (`Timed`).
"""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

import orjson
import uvloop

ANSWER_TIMEOUT_S: Final = 60.0
_SUCCESS: Final = b'"errno":0'
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """Paths are asked for in random order, `concurrency` at a time, each on a connection that is kept."""

    host: str
    port: int
    token: str
    paths: Sequence[str]
    concurrency: int
    seconds: float
    # Answers before the clock starts, so that connections, plans and caches are warm.
    warm_up: int = 500
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Timed:
    """What came of a load. `cpu_seconds` are the generator's own."""

    seconds: float
    cpu_seconds: float
    latencies_ms: list[float]
    failures: int
    answer_bytes: int


class _Connection(asyncio.Protocol):
    """One keep-alive connection; one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._end = 0
        self._waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of classes of their own.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._end:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            headers = bytes(self._received[:head]).lower()
            position = headers.index(_LENGTH) + len(_LENGTH)
            self._end = head + 4 + int(headers[position:].split(b"\r\n", 1)[0])
        if len(self._received) >= self._end and self._waiter is not None:
            answer = bytes(self._received[: self._end])
            del self._received[: self._end]
            self._end = 0
            self._waiter.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error or ConnectionResetError("the server closed the connection"))

    async def ask(self, question: bytes) -> bytes:
        if self._transport is None:
            raise ConnectionError("not connected")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(question)
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def run(load: Load) -> Timed:
    """Ask until the time is over."""
    loop = asyncio.get_running_loop()
    questions = [_question(load, path) for path in load.paths]
    chance = random.Random(load.seed)
    connections = [
        (await loop.create_connection(_Connection, load.host, load.port))[1] for _ in range(load.concurrency)
    ]
    latencies: list[float] = []
    failures = answer_bytes = 0

    async def ask_until(connection: _Connection, end: float, count: int | None) -> None:
        nonlocal failures, answer_bytes
        while time.perf_counter() < end and (count is None or count > 0):
            began = time.perf_counter()
            answer = await connection.ask(questions[chance.randrange(len(questions))])
            latencies.append((time.perf_counter() - began) * 1000)
            answer_bytes += len(answer)
            failures += not (answer.startswith(b"HTTP/1.1 200") and _SUCCESS in answer[-64:])
            count = None if count is None else count - 1

    async with asyncio.timeout(load.seconds + ANSWER_TIMEOUT_S):
        warm_up = -(-load.warm_up // load.concurrency)
        forever = float("inf")
        await asyncio.gather(*(ask_until(connection, forever, warm_up) for connection in connections))
        latencies.clear()
        failures = answer_bytes = 0
        began, cpu_began = time.perf_counter(), time.process_time()
        await asyncio.gather(*(ask_until(connection, began + load.seconds, None) for connection in connections))
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    for connection in connections:
        connection.close()
    return Timed(seconds, cpu_seconds, latencies, failures, answer_bytes)


def _question(load: Load, path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {load.host}:{load.port}\r\nAuthorization: Bearer {load.token}\r\n"
        "Accept: application/json\r\n\r\n"
    ).encode()


def main() -> None:
    load = Load(**orjson.loads(sys.stdin.buffer.read()))
    timed = uvloop.run(run(load))
    sys.stdout.buffer.write(orjson.dumps(asdict(timed)))


if __name__ == "__main__":
    main()
