"""Errors by what the runtime must do about them; drivers' and models' own errors are translated at the adapter."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.memory import Usage


class MemostreamError(Exception):
    """Base of every error that memostream raises on purpose; its text may be shown to a user.

    `usage` is what a model's calls had cost before it was raised; None where none was answered.
    """

    usage: "Usage | None" = None

    def add_usage(self, usage: "Usage") -> None:
        """Count calls that were made in vain because of this error."""
        self.usage = usage if self.usage is None else usage + self.usage


class ConfigurationError(MemostreamError):
    """A setting, an argument or the surroundings must be changed by a person; retrying cannot help."""


class NotFound(MemostreamError):
    """What was asked for does not exist."""


class Conflict(MemostreamError):
    """Somebody else holds or changed what this call wanted to change."""


class LeaseLost(Conflict):
    """A relay shard or a partition now belongs to another worker; drop what was begun and go on with the rest."""


class InvalidRecord(MemostreamError):
    """A record that can never be applied as it stands; it is parked in `dead-letters` under `reason`.

    `detail` names the field and the fix and never quotes the record.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class NewerVersion(MemostreamError):
    """A record that only memostream writes has a newer `v`; the worker stops, for an older one must not guess."""


class RetryLater(MemostreamError):
    """An endpoint is away (connection, time-out, 429, 5xx): wait `delay_s` or longer and call again, park nothing."""

    def __init__(self, message: str, delay_s: float = 0.0) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class EndpointRefused(RetryLater):
    """Key, model or quota are at fault (401, 403, 404, `insufficient_quota`): wait, and fail the health check."""


class ContextTooLong(MemostreamError):
    """The model cannot take this much text at once: split and call again. `at_embedding` is as ContentRejected's."""

    at_embedding: bool = False


class ContentRejected(MemostreamError):
    """The model refused the content, or its reply failed validation twice: bisect, park the poison alone.

    `at_embedding` is true where that was the model for embeddings.
    """

    at_embedding: bool = False


class UnexplainedRefusal(ContentRejected):
    """The endpoint takes no form of this call and does not say why (400, 422).

    The content is to blame only if the endpoint takes other calls.
    """
