"""The extractor as all users of a worker share it: its health, and the judgement on rejected content."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import structlog

from agents.accounts import Meter
from agents.dependencies import Health
from agents.faults import EndpointJudge, UserKey
from extraction.protocol import Extractor
from schemas.conversation import Message
from schemas.errors import ContentRejected, MemostreamError, RetryLater
from schemas.memory import Extraction, ExtractorIdentity, MemoryUpdate, Profile, Usage
from schemas.profile_schema import ProfilePolicy

log = structlog.get_logger()

HEALTH_PART = "endpoint"

Step = Literal["extract", "merge"]
Result = TypeVar("Result", Extraction, MemoryUpdate)


class Endpoint:
    """Calls the extractor; raises as it does, but RetryLater where all users' content is rejected.

    `meter` is told of what each call spent, also of one that failed.
    """

    def __init__(self, extractor: Extractor, health: Health, failing_users_limit: int) -> None:
        self._extractor = extractor
        self._health = health
        # Apart, for a model may read well and merge badly.
        self._judges: dict[Step, EndpointJudge] = {
            "extract": EndpointJudge(failing_users_limit),
            "merge": EndpointJudge(failing_users_limit),
        }

    def identity(self, policy: ProfilePolicy) -> ExtractorIdentity:
        return self._extractor.identity(policy)

    async def extract(
        self, user: UserKey, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy, meter: Meter
    ) -> Extraction:
        return await self._judged(
            "extract", user, lambda: self._extractor.extract(messages, profile, policy), Usage(), meter
        )

    async def merge(
        self, user: UserKey, extraction: Extraction, profile: Profile, policy: ProfilePolicy, meter: Meter
    ) -> MemoryUpdate:
        return await self._judged(
            "merge", user, lambda: self._extractor.merge(extraction, profile, policy), extraction.usage, meter
        )

    async def _judged(
        self, step: Step, user: UserKey, call: Callable[[], Awaitable[Result]], before: Usage, meter: Meter
    ) -> Result:
        try:
            result = await call()
        except ContentRejected as error:
            meter.add(error.usage)
            judge = self._judges[step] = self._judges[step].after_rejection(user)
            if not judge.blames_endpoint:
                raise
            reason = f"the replies for {len(judge.failing_users)} users in a row fail validation at {step}"
            self._health.report(HEALTH_PART, reason)
            log.warning("extraction.endpoint_blamed", step=step, users=len(judge.failing_users))
            raise RetryLater(reason) from error
        except MemostreamError as error:
            meter.add(error.usage)
            raise
        spent = result.usage - before
        meter.add(spent)
        # A step that needed no completion says nothing about the endpoint.
        if spent.completions:
            self._judges[step] = self._judges[step].after_success()
            self._health.clear(HEALTH_PART)
        return result
