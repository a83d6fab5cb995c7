"""What a model may be asked about memory that is read: which entries help, whether a talk needs a new topic, which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field, field_validator

from extraction.prompting import Language, boundary_of, load, render
from extraction.replies import Reply, Text
from schemas.memory import Usage

# Entries that a model picks at most, messages that it is shown, and tokens of an entry that it is shown.
MAX_PICKS: Final = 10
MAX_MESSAGES: Final = 6
MAX_ENTRY_CHARACTERS: Final = 120
MAX_MESSAGE_CHARACTERS: Final = 2_000
MAX_ENTRIES: Final = 500


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a conversation that is going on."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Interest:
    """How a conversation stands; `action` says what its character should do."""

    status: str
    action: Literal["new_topic", "continue"]


@dataclass(frozen=True, slots=True)
class Topic:
    """Something new to talk about; `steps` are told to the character, in order."""

    theme: str
    overview: str
    steps: tuple[str, ...]

    def instruction(self, language: Language) -> str:
        """What the character is told."""
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
        return render(language, "lead", theme=self.theme, overview=self.overview, steps=steps)


class ReadingModel(Protocol):
    """A chat model that helps to read memory. Its calls raise as Extractor's do."""

    async def pick(
        self, entries: Sequence[str], messages: Sequence[Said], language: Language
    ) -> tuple[tuple[int, ...], Usage]:
        """Which entries help to answer the last message: their indices, the most helpful first."""

    async def interest(self, messages: Sequence[Said], language: Language) -> tuple[Interest, Usage]:
        """Whether the user still cares for what is talked about."""

    async def topic(
        self,
        entries: Sequence[str],
        character: str,
        earlier: Sequence[str],
        messages: Sequence[Said],
        language: Language,
    ) -> tuple[Topic, Usage]:
        """What could be talked about next, and was not yet (`earlier`)."""

    async def close(self) -> None:
        """Close the connections."""


class PickReply(Reply):
    picks: list[int]


class InterestReply(Reply):
    status: Text
    action: Literal["new_topic", "continue"]


class TopicReply(Reply):
    theme: Text
    overview: Text
    steps: Annotated[list[Text], Field(min_length=1)]

    @field_validator("steps")
    @classmethod
    def _few(cls, value: list[str]) -> list[str]:
        return value[:6]


def pick_system(language: Language) -> str:
    return render(language, "pick", limit=str(MAX_PICKS))


def pick_input(language: Language, entries: Sequence[str], messages: Sequence[Said]) -> str:
    lines, talk = _numbered(entries), _talk(messages)
    return render(language, "pick_input", boundary=boundary_of(f"{lines}\n{talk}"), entries=lines, messages=talk)


def interest_system(language: Language) -> str:
    return load(language, "interest").strip()


def interest_input(language: Language, messages: Sequence[Said]) -> str:
    talk = _talk(messages)
    return render(language, "interest_input", boundary=boundary_of(talk), messages=talk)


def topic_system(language: Language) -> str:
    return load(language, "topic").strip()


def topic_input(
    language: Language, entries: Sequence[str], character: str, earlier: Sequence[str], messages: Sequence[Said]
) -> str:
    parts = {
        "entries": "\n".join(f"- {_cut(entry, MAX_MESSAGE_CHARACTERS)}" for entry in entries) or "-",
        "character": _cut(character, MAX_MESSAGE_CHARACTERS) or "-",
        "earlier": "\n".join(f"- {_cut(topic, MAX_MESSAGE_CHARACTERS)}" for topic in earlier) or "-",
        "messages": _talk(messages),
    }
    return render(language, "topic_input", boundary=boundary_of("\n".join(parts.values())), **parts)


def _numbered(entries: Sequence[str]) -> str:
    return "\n".join(f"{index} {_cut(entry, MAX_ENTRY_CHARACTERS)}" for index, entry in enumerate(entries))


def _talk(messages: Sequence[Said]) -> str:
    return "\n".join(f"{said.role}: {_cut(said.content, MAX_MESSAGE_CHARACTERS)}" for said in messages[-MAX_MESSAGES:])


def _cut(text: str, characters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"
