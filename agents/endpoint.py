"""The extractor as all users of a worker share it: its health, and the judgement on rejected content."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, get_args

import structlog

from agents.accounts import Meter
from agents.bisection import halves_of
from agents.control import Step, call_for_control
from agents.faults import EndpointJudge, UserKey, is_short
from agents.waits import Waits
from extraction.protocol import Extractor
from schemas.conversation import Message
from schemas.errors import (
    ContentRejected,
    ContextTooLong,
    EndpointRefused,
    MemostreamError,
    RetryLater,
    UnexplainedRefusal,
)
from schemas.health import Health
from schemas.memory import Extraction, ExtractorIdentity, MemoryUpdate, Profile, Usage
from schemas.profile_schema import ProfilePolicy

log = structlog.get_logger()

HEALTH_PART = "endpoint"

Result = TypeVar("Result", Extraction, MemoryUpdate)


class Endpoint:
    """Calls the extractor; raises as it does, but RetryLater where the endpoint is to blame for what it refuses.

    What it refuses without a reason, and what is short and yet too long, is put to the test with a control call.
    `meter` is told of what each call spent, also of one that failed.
    """

    def __init__(
        self,
        extractor: Extractor,
        health: Health,
        failing_users_limit: int,
        monotonic: Callable[[], float] = time.monotonic,
        waits: Waits | None = None,
    ) -> None:
        self._extractor = extractor
        self._health = health
        self._monotonic = monotonic
        self._waits = waits or Waits()
        # Apart, for a model may read well and merge badly, and another one embeds.
        self._judges: dict[Step, EndpointJudge] = {step: EndpointJudge(failing_users_limit) for step in get_args(Step)}

    def identity(self, policy: ProfilePolicy) -> ExtractorIdentity:
        return self._extractor.identity(policy)

    async def extract(
        self, user: UserKey, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy, meter: Meter
    ) -> Extraction:
        def call() -> Awaitable[Extraction]:
            return self._extractor.extract(messages, profile, policy)

        extraction = await self._judged("extract", user, policy, call, is_short(messages), Usage(), meter)
        if extraction.usage.completions:
            self._took("extract")
        return extraction

    async def merge(
        self, user: UserKey, extraction: Extraction, profile: Profile, policy: ProfilePolicy, meter: Meter
    ) -> MemoryUpdate:
        def call() -> Awaitable[MemoryUpdate]:
            return self._extractor.merge(extraction, profile, policy)

        is_one_thing = halves_of(extraction) is None
        update = await self._judged("merge", user, policy, call, is_one_thing, extraction.usage, meter)
        # What needed no call says nothing about the endpoint, nor does one that only tidies.
        if update.decided:
            self._took("merge")
        if update.usage.embedding_calls > extraction.usage.embedding_calls:
            self._took("embed")
        return update

    async def _judged(
        self,
        step: Step,
        user: UserKey,
        policy: ProfilePolicy,
        call: Callable[[], Awaitable[Result]],
        is_smallest: bool,
        before: Usage,
        meter: Meter,
    ) -> Result:
        try:
            with self._waits.one():
                result = await call()
        except (ContentRejected, ContextTooLong) as error:
            meter.add(error.usage)
            if isinstance(error, ContentRejected) or is_smallest:
                await self._judge("embed" if error.at_embedding else step, user, policy, error, meter)
            raise
        except MemostreamError as error:
            meter.add(error.usage)
            raise
        meter.add(result.usage - before)
        return result

    def _took(self, step: Step) -> None:
        self._judges[step] = self._judges[step].after_success()
        if not any(judge.blames_endpoint for judge in self._judges.values()):
            self._health.clear(HEALTH_PART)

    async def _judge(
        self, step: Step, user: UserKey, policy: ProfilePolicy, error: ContentRejected | ContextTooLong, meter: Meter
    ) -> None:
        """Returns where the content is to blame; else raises what is to be done about the endpoint."""
        is_unexplained = not isinstance(error, ContentRejected) or isinstance(error, UnexplainedRefusal)
        judge = self._judges[step] = self._judges[step].after_rejection(user)
        blame = judge.blame(user, is_unexplained, self._monotonic())
        if blame == "content" or (blame == "doubt" and await self._takes_control_call(step, user, policy, meter)):
            return
        if is_unexplained:
            raise EndpointRefused(f"{error}, and neither a harmless conversation at {step}") from error
        reason = f"the replies for {len(judge.failing_users)} users in a row fail validation at {step}"
        self._health.report(HEALTH_PART, reason)
        log.warning("extraction.endpoint_blamed", step=step, users=len(judge.failing_users))
        raise RetryLater(reason) from error

    async def _takes_control_call(self, step: Step, user: UserKey, policy: ProfilePolicy, meter: Meter) -> bool:
        # Before the call, so that of those who wait only one makes it.
        self._judges[step] = self._judges[step].before_control(self._monotonic())
        is_taken = True
        try:
            with self._waits.one():
                meter.add(await call_for_control(self._extractor, step, policy))
        except (ContentRejected, ContextTooLong) as error:
            meter.add(error.usage)
            is_taken = False
        except MemostreamError as error:
            meter.add(error.usage)
            raise
        if is_taken:
            self._judges[step] = self._judges[step].after_control(user, self._monotonic())
        log.info("extraction.control_call", step=step, project_id=user[0], user_id=user[1], taken=is_taken)
        return is_taken
