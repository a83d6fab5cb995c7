"""Who waits for somebody else: then standing still is right, and no restart would mend it."""

from collections.abc import Iterator
from contextlib import contextmanager


class Waits:
    """Batches that wait for a model, or between attempts for what was away or used up."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
