"""`python -m benchmarks.reading_gateway`: the gateway as it is, with vectors of questions from a file.

Two things differ from `memostream api`: the embedder looks vectors up, and there is one more route,
`/api/v1/select-1`, which asks Postgres for nothing by the same way as all others. There need be no broker.
"""

import argparse
import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import structlog
import uvloop
from numpy.typing import NDArray
from sqlalchemy import text

from api.app import open_gateway
from api.application import create_app
from api.envelope import JsonResponse, ok
from api.routing import new_router
from api.scope import ScopeDep
from api.serving import open_socket, serve_app
from schemas.memory import Usage
from schemas.settings import Settings

SELECT_1 = text("SELECT 1")

router = new_router("benchmark")


@router.get("/select-1", summary="Nothing, from Postgres")
async def select_1(scope: ScopeDep) -> JsonResponse:
    async with scope.connection() as connection:
        return ok({"found": await connection.scalar(SELECT_1)})


@dataclass(frozen=True, slots=True)
class KnownVectors:
    """An embedder that was asked before."""

    vectors: dict[str, NDArray[np.float32]]
    dimension: int

    async def embed(
        self,
        texts: Sequence[str],
        *,
        are_questions: bool = False,  # noqa: ARG002
    ) -> tuple[NDArray[np.float32], Usage]:
        return np.stack([self.vectors[text] for text in texts]), Usage()

    async def close(self) -> None:
        """Nothing is open."""


async def serve(settings: Settings, questions_file: Path) -> None:
    with np.load(questions_file) as stored:
        vectors = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with open_gateway(settings) as gateway:
        app = create_app(replace(gateway, embedder=KnownVectors(vectors, settings.embedding_dimension)))
        app.include_router(router)
        with open_socket(settings.api) as listening:
            print("ready", flush=True)
            await serve_app(app, settings.api, listening, stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading_gateway", description=__doc__)
    parser.add_argument("settings", help="settings as JSON")
    parser.add_argument("questions", type=Path, help="texts and vectors, as numpy.savez writes them")
    options = parser.parse_args()
    # Nothing but errors: the broker is not there, and a log line a request is not what is measured.
    level: Any = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=level)
    logging.disable(logging.ERROR)
    uvloop.run(serve(Settings.model_validate(orjson.loads(options.settings)), options.questions))


if __name__ == "__main__":
    main()
