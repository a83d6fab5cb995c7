"""Embeddings by the English vectors that the `wordllama` package carries; no download, no network."""

import asyncio
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError
from schemas.memory import Usage

BUNDLED_DIMENSION: Final = 256
DIMENSIONS: Final = (64, 128, BUNDLED_DIMENSION)


class _Model(Protocol):
    def embed(self, texts: list[str]) -> NDArray[np.float32]: ...


class BundledEmbedder:
    """An Embedder; loads its model (16 MB) at the first call. Chinese texts match by characters only."""

    def __init__(self, dimension: int = BUNDLED_DIMENSION) -> None:
        if dimension not in DIMENSIONS:
            raise ConfigurationError(
                f"embedding.dimension must be one of {', '.join(map(str, DIMENSIONS))} with"
                f" extraction.provider: offline"
            )
        self._dimension = dimension
        self._loading = threading.Lock()

    @property
    def dimension(self) -> int:
        return self._dimension

    async def embed(
        self,
        texts: Sequence[str],
        *,
        are_questions: bool = False,  # noqa: ARG002
    ) -> tuple[NDArray[np.float32], Usage]:
        if not texts:
            return np.zeros((0, self._dimension), dtype=np.float32), Usage()
        return await asyncio.to_thread(self._embed, list(texts)), Usage()

    async def close(self) -> None:
        """Nothing is open."""

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        with self._loading:
            model = self._model
        vectors = np.asarray(model.embed(texts), dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        return unit

    @cached_property
    def _model(self) -> _Model:
        # Importing it takes longer than loading the vectors; who never embeds does not pay for it.
        from wordllama import WordLlama

        spec = find_spec("wordllama")
        if spec is None or spec.origin is None:
            raise ConfigurationError("the package wordllama is not installed as files: reinstall memostream")
        trunc_dim = None if self._dimension == BUNDLED_DIMENSION else self._dimension
        model: _Model = WordLlama.load(cache_dir=Path(spec.origin).parent, trunc_dim=trunc_dim, disable_download=True)
        return model
