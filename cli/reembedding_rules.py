"""What may be done with a database's embeddings as they stand: values in, refusals out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from agents.embedding_filler import BATCH_ROWS
from schemas.costs import cost_of
from schemas.errors import ConfigurationError, Conflict, NotFound
from schemas.memory import EmbeddingModel, Usage
from schemas.prices import PriceSettings
from storage.inspection import StoredEmbeddings
from storage.reembedding_progress import Progress

GO_ON = "`memostream reembed run --execute` with its configuration goes on, `memostream reembed abandon` ends it"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be embedded, and what that takes. `cost` is None where the model has no price."""

    target: EmbeddingModel
    is_begun: bool
    by_table: Mapping[str, Progress]
    cost: Decimal | None

    @property
    def total(self) -> Progress:
        return sum(self.by_table.values(), Progress())

    @property
    def calls(self) -> int:
        return -(-self.total.missing // BATCH_ROWS)


def plan_of(target: EmbeddingModel, is_begun: bool, by_table: Mapping[str, Progress], prices: PriceSettings) -> Plan:
    tokens = sum(progress.tokens for progress in by_table.values())
    return Plan(target, is_begun, by_table, cost_of(Usage(embedding_tokens=tokens), target.name, prices))


def checked_target(stored: StoredEmbeddings, wanted: EmbeddingModel | None) -> EmbeddingModel:
    """The model to embed by. Raises ConfigurationError where there is none to go on to, Conflict beside another run."""
    if wanted is None:
        raise ConfigurationError("embedding.enabled is false in this configuration: nothing would be embedded by it")
    if wanted == in_use(stored):
        raise ConfigurationError(
            f"the database's embeddings are of {wanted} already: give the configuration that is to follow "
            "(--config NEXT), with another embedding.model or embedding.dimension"
        )
    if stored.next_model is not None and stored.next_model != wanted:
        raise Conflict(f"re-embedding by {stored.next_model} is under way, this configuration says {wanted}: {GO_ON}")
    return wanted


def checked_begun(stored: StoredEmbeddings) -> EmbeddingModel:
    """The model that is under way; raises NotFound."""
    if stored.next_model is None:
        raise NotFound("no re-embedding is under way: `memostream reembed run --config NEXT --execute` begins one")
    return stored.next_model


def in_use(stored: StoredEmbeddings) -> EmbeddingModel | None:
    """None before the first worker with embeddings."""
    return None if stored.model is None else EmbeddingModel(stored.model, stored.dimension)


def check_finish(
    stored: StoredEmbeddings,
    missing: int,
    tail: int,
    workers: Sequence[tuple[str, EmbeddingModel]],
) -> EmbeddingModel:
    """The model under way; raises Conflict where something is missing, or somebody still embeds by another."""
    target = checked_begun(stored)
    if not stored.is_ready or missing > tail:
        raise Conflict(f"{missing:,} texts are not embedded by {target} yet: {GO_ON}")
    others = [name for name, model in workers if model != target]
    if others:
        raise Conflict(
            f"workers still embed by another model: {', '.join(others)}; restart them with the configuration that has "
            f"{target}, gateways first"
        )
    return target


def check_abandon(stored: StoredEmbeddings, workers: Sequence[tuple[str, EmbeddingModel]]) -> EmbeddingModel:
    """The model under way; raises Conflict where workers embed by it."""
    target = checked_begun(stored)
    using = [name for name, model in workers if model == target]
    if using:
        raise Conflict(
            f"workers embed by {target} already: {', '.join(using)}; restart them, and gateways before them, with the "
            "configuration from before"
        )
    return target
