"""The openai provider's steps: one call each, to extract, merge, organize or compact."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from extraction import prompting
from extraction.compact import LongMemo, Shortened, fault_of
from extraction.endpoint.chat import ChatEndpoint
from extraction.merge import Answer, MergePlan, plan_merge
from extraction.organize import Crowd, Join, faults_of
from extraction.prompting import Language
from extraction.quotes import QuoteFinder
from extraction.replies import (
    CompactReply,
    EventReply,
    ExtractReply,
    FactReply,
    InvalidReply,
    MergeReply,
    OrganizeReply,
    ReplyModel,
    UntaggedExtractReply,
)
from schemas.conversation import Message
from schemas.errors import ContentRejected, InvalidRecord
from schemas.memory import Extraction, Fact, Gist, Profile, Usage
from schemas.profile_schema import ProfilePolicy


@dataclass(frozen=True, slots=True)
class EndpointSteps:
    """Steps of the pipeline by a chat model; `tidier` is the one that organizes and compacts."""

    chat: ChatEndpoint
    tidier: ChatEndpoint

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        if not self.chat.settings.vision:
            messages = [message for message in messages if message.image is None]
        if not messages:
            return Extraction()
        language = _language(policy, (message.content for message in messages))
        try:
            content = prompting.extract_content(language, messages, profile, policy)
        except InvalidRecord as error:
            raise ContentRejected(str(error)) from error
        reply, usage = await self.chat.ask(
            prompting.extract_system(language, policy),
            content,
            ExtractReply if policy.event_tags else UntaggedExtractReply,
            len(messages),
            language,
        )
        return to_extraction(reply, messages, usage)

    def plan(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
        return plan_merge(extraction.facts, profile, policy)

    async def decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        language = _language(policy, (item.news for item in plan.open_slots))
        reply, usage = await self.chat.ask(
            prompting.merge_system(language, policy),
            prompting.merge_input(language, plan.open_slots),
            MergeReply,
            len(plan.open_slots),
            language,
        )
        decisions = sorted(reply.decisions, key=lambda decision: decision.index)
        return [Answer(decision.action, decision.memo or "") for decision in decisions], usage

    async def organize(self, crowds: Sequence[Crowd], policy: ProfilePolicy) -> tuple[Sequence[Join], Usage]:
        members = [member for crowd in crowds for member in crowd.members]
        language = _language(policy, (member.content for member in members))
        reply, usage = await self.tidier.ask(
            prompting.organize_system(language, policy.max_memo_tokens),
            prompting.organize_input(language, crowds),
            OrganizeReply,
            len(members),
            language,
            _once(lambda reply: faults_of(crowds, _joins(reply), policy)),
        )
        return _joins(reply), usage

    async def compact(
        self, items: Sequence[LongMemo], policy: ProfilePolicy
    ) -> tuple[Sequence[Shortened | None], Usage]:
        language = _language(policy, (item.entry.content for item in items))

        def faults(reply: CompactReply) -> list[str]:
            found = ((memo.index, fault_of(items[memo.index], Shortened(memo.memo), policy)) for memo in reply.memos)
            return [f"memo {index} {fault}" for index, fault in found if fault]

        reply, usage = await self.tidier.ask(
            prompting.compact_system(language, policy.max_memo_tokens),
            prompting.compact_input(language, items),
            CompactReply,
            len(items),
            language,
            _once(faults),
        )
        return [Shortened(memo.memo) for memo in sorted(reply.memos, key=lambda memo: memo.index)], usage

    async def close(self) -> None:
        await self.chat.client.close()


def to_extraction(reply: ExtractReply, messages: Sequence[Message], usage: Usage) -> Extraction:
    """The reply with message indices turned into message ids; a summary of nothing is dropped.

    Quotes that do not stand in the messages named are dropped too, and what they were given for is kept.
    """
    if not reply.facts and not reply.events:
        return Extraction(usage=usage)
    tags = dict.fromkeys((tag.tag, tag.value) for event in reply.events for tag in event.tags)
    finder = QuoteFinder()
    return Extraction(
        facts=tuple(_fact(fact, messages, finder) for fact in reply.facts),
        gists=tuple(_gist(event, messages, finder) for event in reply.events),
        summary=reply.summary,
        tags=tuple(tags),
        occurred_at=max(message.occurred_at for message in messages),
        usage=usage,
    )


def _once(faults: Callable[[ReplyModel], list[str]]) -> Callable[[ReplyModel], None]:
    """A check that sends an answer back the first time only: of the second, what is right is taken."""
    asked: list[bool] = []

    def check(reply: ReplyModel) -> None:
        if not asked and (found := faults(reply)):
            asked.append(True)
            raise InvalidReply("\n".join(found[:20]))

    return check


def _joins(reply: OrganizeReply) -> list[Join]:
    return [Join(tuple(join.members), join.sub_topic, join.memo) for join in reply.joins]


def _language(policy: ProfilePolicy, texts: Iterable[str]) -> Language:
    return prompting.language_of(texts) if policy.language == "auto" else policy.language


def _fact(reply: FactReply, messages: Sequence[Message], finder: QuoteFinder) -> Fact:
    said = [messages[index] for index in reply.message_indices]
    return Fact(
        topic=reply.topic,
        sub_topic=reply.sub_topic,
        memo=reply.memo,
        message_ids=tuple(message.message_id for message in said),
        occurred_at=max(message.occurred_at for message in said),
        quote=finder.find(reply.quote, said),
    )


def _gist(reply: EventReply, messages: Sequence[Message], finder: QuoteFinder) -> Gist:
    said = [messages[index] for index in reply.message_indices]
    return Gist(
        text=reply.gist,
        message_ids=tuple(message.message_id for message in said),
        occurred_at=reply.occurred_at or max(message.occurred_at for message in said),
        quote=finder.find(reply.quote, said),
    )
