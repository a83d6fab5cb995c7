"""Builds the extractor and the embedder that the settings name."""

from typing import Final

from extraction.offline.embedding import BundledEmbedder
from extraction.offline.provider import OfflineSteps, offline_identity
from extraction.pipeline import Pipeline
from extraction.protocol import Embedder, Extractor
from schemas.errors import ConfigurationError
from schemas.settings import Settings

# Of the steps and the merge; raise it when the same prompts and model would give other memory.
EXTRACTION_VERSION: Final = "1"


def create_extractor(settings: Settings) -> Extractor:
    """The extractor of `extraction.provider`; opens no connection. Raises ConfigurationError."""
    if settings.extraction.provider == "offline":
        return Pipeline(offline_identity(EXTRACTION_VERSION), OfflineSteps(), create_embedder(settings))
    raise NotImplementedError


def create_embedder(settings: Settings) -> Embedder | None:
    """The embedder of the same provider; None where `embedding.enabled` is false."""
    if not settings.embedding.enabled:
        return None
    if settings.extraction.provider == "offline":
        if settings.embedding.base_url is not None or settings.embedding.model is not None:
            raise ConfigurationError(
                "embedding.base_url and embedding.model must be unset with extraction.provider: offline, "
                "which brings its own model"
            )
        return BundledEmbedder(settings.embedding_dimension)
    raise NotImplementedError
