"""A run of `memostream reembed` as a process: until it has come to its end, or is told to stop."""

import asyncio

from cli.console import note, print_json
from cli.reembedding import Limits, run
from extraction.factory import create_embedder
from schemas.errors import ConfigurationError
from schemas.settings import Settings

EXIT_OK = 0
EXIT_ABANDONED = 1


async def embed_until(settings: Settings, limits: Limits, stop: asyncio.Event, *, as_json: bool) -> int:
    """The exit code; raises what `run` raises."""
    embedder = create_embedder(settings)
    if embedder is None:
        raise ConfigurationError("embedding.enabled is false in this configuration: nothing would be embedded by it")
    running = asyncio.ensure_future(run(settings, embedder, limits, _say_ready))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            note("stopped; called again, it goes on")
            return EXIT_OK
        if not running.result():
            note("it was abandoned")
            return EXIT_ABANDONED
        if as_json:
            print_json({"executed": True, "model": settings.embedding_model, "dimension": settings.embedding_dimension})
        return EXIT_OK
    finally:
        for task in (running, stopping):
            task.cancel()
        await asyncio.wait((running, stopping))
        await embedder.close()


def _say_ready() -> None:
    note("ready: restart gateways with this configuration, then workers; then call `memostream reembed finish`")
