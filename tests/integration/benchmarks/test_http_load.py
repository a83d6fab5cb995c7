"""The load generator counts answers and tells failures from successes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.http_load import Load, run

OK = b'{"data":null,"errno":0,"errmsg":""}'
REFUSED = b'{"data":null,"errno":404,"errmsg":"no"}'


@asynccontextmanager
async def server(bodies: dict[bytes, bytes]) -> AsyncIterator[int]:
    """Answers each path with its body, in pieces, as a network might."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = bodies[head.split(b" ")[1]]
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                for piece in (answer[:20], answer[20:-5], answer[-5:]):
                    writer.write(piece)
                    await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


async def test_answers_are_timed_and_failures_counted() -> None:
    async with server({b"/good": OK, b"/bad": REFUSED}) as port:
        good = await run(Load("127.0.0.1", port, "t", ["/good"], concurrency=3, seconds=0.2, warm_up=6))
        bad = await run(Load("127.0.0.1", port, "t", ["/bad"], concurrency=1, seconds=0.1, warm_up=0))
    assert good.failures == 0
    assert len(good.latencies_ms) >= 3
    assert bad.failures == len(bad.latencies_ms) > 0
