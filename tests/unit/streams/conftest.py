"""The buffer step of one partition on both stores."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.buffer_store import MemoryPartitionStore, RocksPartitionStore
from streams.buffering import BufferContext
from tests.support.buffer_step import (
    StepRun,
)

NewRun = Callable[..., StepRun]


@pytest.fixture(params=["memory", "rocksdb"])
def new_run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewRun]:
    opened: list[StepRun] = []

    def start(settings: BufferContext | None = None) -> StepRun:
        folder = tmp_path / f"partition-{len(opened)}"
        store = MemoryPartitionStore() if request.param == "memory" else RocksPartitionStore(folder)
        opened.append(StepRun(store, settings))
        return opened[-1]

    yield start
    for run in opened:
        run.store.close()
