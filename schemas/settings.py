"""Every setting, in frozen sections; `load_settings` reads them from the places that people set them in."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import PrivateAttr, model_validator

from schemas.budgets import BudgetSettings
from schemas.mapping import IngestSettings
from schemas.memory import EmbeddingModel
from schemas.prices import ModelPrice, PriceSettings
from schemas.section import Section
from schemas.settings_api import ApiSettings
from schemas.settings_kafka import KafkaSettings
from schemas.settings_memory import BufferSettings, ExtractionSettings, ProfileSettings
from schemas.settings_models import EmbeddingSettings, LLMSettings
from schemas.settings_service import RelaySettings, StorageSettings, WorkerSettings
from schemas.settings_sources import Layers

__all__ = [
    "ApiSettings",
    "BudgetSettings",
    "BufferSettings",
    "EmbeddingSettings",
    "ExtractionSettings",
    "IngestSettings",
    "KafkaSettings",
    "LLMSettings",
    "PriceSettings",
    "ProfileSettings",
    "RelaySettings",
    "Section",
    "Settings",
    "StorageSettings",
    "WorkerSettings",
    "load_settings",
]

BUNDLED_EMBEDDING_MODEL: Final = "wordllama-l2-supercat-256"
DEFAULT_EMBEDDING_MODEL: Final = "text-embedding-3-small"


class Settings(Section):
    """Every setting. Frozen; read once, in a composition root, and passed on by section."""

    kafka: KafkaSettings = KafkaSettings()
    storage: StorageSettings = StorageSettings()
    ingest: IngestSettings = IngestSettings()
    buffer: BufferSettings = BufferSettings()
    extraction: ExtractionSettings = ExtractionSettings()
    profile: ProfileSettings = ProfileSettings()
    llm: LLMSettings = LLMSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    prices: PriceSettings = PriceSettings()
    budget: BudgetSettings = BudgetSettings()
    relay: RelaySettings = RelaySettings()
    worker: WorkerSettings = WorkerSettings()
    api: ApiSettings = ApiSettings()

    @model_validator(mode="after")
    def _check_provider(self) -> "Settings":
        if self.extraction.provider == "openai" and self.llm.api_key is None and self.llm.base_url is None:
            raise ValueError(
                "llm.api_key must be set with extraction.provider: openai, which a model in Memobase's keys implies "
                "(MEMOSTREAM_LLM__API_KEY)"
            )
        return self

    @model_validator(mode="after")
    def _check_prices(self) -> "Settings":
        """A budget of money that counts nothing would hold nobody."""
        if self.extraction.provider == "offline" or not self.budget.limits_money:
            return self
        unpriced = ModelPrice()
        chat = [("llm.model", self.llm.model), ("llm.summary_model", self.llm.summary_model)]
        for setting, model in chat:
            price = self.prices.models.get(model or self.llm.model, unpriced)
            if price.prompt_per_million is None or price.completion_per_million is None:
                raise ValueError(
                    f"prices.models must have prompt_per_million and completion_per_million of {setting} with a "
                    "budget of money"
                )
        embedding = self.prices.models.get(self.embedding_model, unpriced)
        if self.embedding.enabled and embedding.embedding_per_million is None:
            raise ValueError("prices.models must have embedding_per_million of embedding.model with a budget of money")
        return self

    _without_effect: tuple[str, ...] = PrivateAttr(())

    def model_post_init(self, context: Any, /) -> None:
        self._without_effect = (context or {}).get("without_effect", ())

    @property
    def without_effect(self) -> tuple[str, ...]:
        """What was configured and changes nothing, or nothing yet: a sentence each, which quotes no value."""
        return (*self._without_effect, *self._slots_without_effect())

    def _slots_without_effect(self) -> Iterator[str]:
        replaced, added = self.profile.overwrite_user_profiles, self.profile.additional_user_profiles
        if replaced is not None and added:
            yield "profile.additional_user_profiles: no effect beside overwrite_user_profiles"
        if self.extraction.provider != "offline":
            return
        if (replaced is not None or added) and not self.profile.profile_strict_mode:
            yield "profile: no effect with extraction.provider offline, whose rules have slots of their own"
        if self.llm.vision:
            yield "llm.vision: no effect with extraction.provider offline, which asks no model"
        for key in ("profile_validate_mode", "event_tags", "event_theme_requirement"):
            if getattr(self.profile, key):
                yield f"profile.{key}: no effect with extraction.provider offline, which asks no model"

    @property
    def reads_images(self) -> bool:
        return self.llm.vision and self.extraction.provider != "offline"

    @property
    def embedding_dimension(self) -> int:
        return self.embedding.dimension or (256 if self.extraction.provider == "offline" else 1536)

    @property
    def embedding_model(self) -> str:
        """Vectors of different models cannot be compared, so a database is of one."""
        default = BUNDLED_EMBEDDING_MODEL if self.extraction.provider == "offline" else DEFAULT_EMBEDDING_MODEL
        return self.embedding.model or default

    @property
    def embeds_by(self) -> EmbeddingModel | None:
        """None where embeddings are off."""
        return EmbeddingModel(self.embedding_model, self.embedding_dimension) if self.embedding.enabled else None


def load_settings(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Defaults < `config.yaml` < `.env` < environment (`MEMOSTREAM_<SECTION>__<KEY>`) < `overrides` (nested).

    Without `config_file`, `MEMOSTREAM_CONFIG` or else `config.yaml` in the working directory is read if it
    exists; it may be Memobase's. Memobase's variables (`MEMOBASE_<KEY>`) are stronger than the file and weaker than
    ours. An empty variable counts as unset. A field that was set anywhere is in its section's `model_fields_set`.
    Raises ConfigurationError that names the key and where it was set, and for an unknown key the nearest known one.
    """
    layers = Layers(Settings, config_file, os.environ if environ is None else environ, env_file, overrides or {})
    return Settings.model_validate(layers.read(), context={"without_effect": layers.without_effect})
