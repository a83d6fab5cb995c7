"""Reading memory with a chat model: one call for each question."""

from collections.abc import Sequence
from dataclasses import dataclass

from extraction import reading
from extraction.endpoint.chat import ChatEndpoint
from extraction.prompting import Language
from extraction.reading import Interest, InterestReply, PickReply, Said, Topic, TopicReply
from schemas.memory import Usage


@dataclass(frozen=True, slots=True)
class ChatReader:
    """`picker` chooses and watches, `thinker` invents; they share a client, which `close` closes."""

    picker: ChatEndpoint
    thinker: ChatEndpoint

    async def pick(
        self, entries: Sequence[str], messages: Sequence[Said], language: Language
    ) -> tuple[tuple[int, ...], Usage]:
        shown = entries[: reading.MAX_ENTRIES]
        reply, usage = await self.picker.ask(
            reading.pick_system(language),
            reading.pick_input(language, shown, messages),
            PickReply,
            len(shown),
            language,
        )
        picked = dict.fromkeys(index for index in reply.picks if 0 <= index < len(shown))
        return tuple(picked)[: reading.MAX_PICKS], usage

    async def interest(self, messages: Sequence[Said], language: Language) -> tuple[Interest, Usage]:
        reply, usage = await self.picker.ask(
            reading.interest_system(language),
            reading.interest_input(language, messages),
            InterestReply,
            len(messages),
            language,
        )
        return Interest(reply.status, reply.action), usage

    async def topic(
        self,
        entries: Sequence[str],
        character: str,
        earlier: Sequence[str],
        messages: Sequence[Said],
        language: Language,
    ) -> tuple[Topic, Usage]:
        reply, usage = await self.thinker.ask(
            reading.topic_system(language),
            reading.topic_input(language, entries, character, earlier, messages),
            TopicReply,
            len(messages),
            language,
        )
        return Topic(reply.theme, reply.overview, tuple(reply.steps)), usage

    async def close(self) -> None:
        await self.picker.client.close()
