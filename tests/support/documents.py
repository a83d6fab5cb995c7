"""README and documentation pages as what a reader does with them: commands to run, files to write, output to see."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson

ROOT: Final = Path(__file__).parents[2]
SHELLS: Final = ("sh", "bash", "shell")
OUTPUTS: Final = ("text", "json")
ANYTHING: Final = "…"

# What a comment before a block may say; another comment is one for people.
DIRECTIVES: Final = ("not run", "file", "exit", "until", "background", "stop", "system", "generated")

_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[\w+-]*)")
_COMMENT: Final = re.compile(r"^ *<!-- *(?P<name>[a-z ]+?) *(?:: *(?P<value>.*?))? *-->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: `line` is that of its fence, `directives` are the comments that stand above it."""

    language: str
    text: str
    line: int
    directives: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Output:
    """What a command is shown to print."""

    language: Literal["text", "json"]
    text: str
    line: int


@dataclass(slots=True)
class Step:
    """A block that is run, or written to the file `name`, and what it must print."""

    kind: Literal["run", "file"]
    block: Block
    outputs: list[Output] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.block.directives["file"]

    @property
    def exit_code(self) -> int:
        return int(self.block.directives.get("exit", "0"))


@dataclass(frozen=True, slots=True)
class Page:
    """A page's steps in their order, and what is wrong with blocks that are none."""

    path: str
    steps: Sequence[Step]
    problems: Sequence[str]
    own_system: bool
    generated: bool

    @property
    def runs(self) -> bool:
        return any(step.kind == "run" for step in self.steps)


def page_paths() -> list[str]:
    """The README and every page of the documentation, relative to the root."""
    return ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def read_page(path: str) -> Page:
    return parse_page(path, (ROOT / path).read_text(encoding="utf-8"))


def parse_page(path: str, text: str) -> Page:
    """A page that begins with `<!-- generated: … -->` has no steps: whatever generates it is tested instead."""
    head = dict(_comments(text.splitlines()[:5]))
    if "generated" in head:
        return Page(path, (), (), own_system=False, generated=True)
    steps: list[Step] = []
    problems: list[str] = []
    # What a block of output would belong to: a step, or a block that is not run.
    before: Step | None = None
    after_skipped = False
    for block in blocks(text):
        where = f"{path}:{block.line}"
        if "not run" in block.directives:
            if not block.directives["not run"]:
                problems.append(f"{where}: `not run` gives no reason")
            before, after_skipped = None, True
        elif "file" in block.directives:
            before, after_skipped = None, False
            steps.append(Step("file", block))
        elif block.language in SHELLS or block.language == "python":
            before, after_skipped = Step("run", block), False
            steps.append(before)
        elif block.language in OUTPUTS and before is not None:
            language: Literal["text", "json"] = "json" if block.language == "json" else "text"
            before.outputs.append(Output(language, block.text, block.line))
        elif block.language and not (block.language in OUTPUTS and after_skipped):
            problems.append(f"{where}: a block of {block.language} that is neither run, written, output nor `not run`")
    return Page(path, steps, problems, own_system=head.get("system") == "own", generated=False)


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, also those inside lists; dedented."""
    directives: dict[str, str] = {}
    fence, indent, language, first, lines = "", 0, "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                yield Block(language, "\n".join([*lines, ""]), first, directives)
                fence, directives = "", {}
            else:
                lines.append(line[min(indent, len(line) - len(line.lstrip(" "))) :])
        elif opened := _FENCE.match(line):
            fence, indent, language = opened["fence"], len(opened["indent"]), opened["language"]
            first, lines = number, []
        elif found := dict(_comments([line])):
            directives |= found
        elif line.strip() and not line.strip().startswith("<!--"):
            directives = {}
    if fence:
        raise ValueError(f"line {first}: a fence that is not closed")


def _comments(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if (found := _COMMENT.match(line)) and found["name"] in DIRECTIVES:
            yield found["name"], found["value"] or ""


def missing_text(shown: str, printed: str) -> str | None:
    """The first line that is shown and was not printed after the lines before it; None if all were.

    Runs of white space, and of the rules of a table, count as one; `…` matches anything within a line.
    """
    remaining = iter(_normal(line) for line in printed.splitlines())
    for line in filter(None, map(_normal, shown.splitlines())):
        pattern = re.compile(".*".join(re.escape(part) for part in line.split(ANYTHING)))
        if not any(pattern.search(candidate) for candidate in remaining):
            return line
    return None


def _normal(line: str) -> str:
    return re.sub(r"─+", "─", " ".join(line.split()))


def shown_in(shown: Any, printed: Any) -> bool:
    """Whether a JSON value holds what is shown: objects may hold more keys, and "…" is anything."""
    if shown == ANYTHING:
        return True
    if isinstance(shown, dict):
        return isinstance(printed, dict) and all(
            key in printed and shown_in(value, printed[key]) for key, value in shown.items()
        )
    if isinstance(shown, list):
        return (
            isinstance(printed, list)
            and len(shown) == len(printed)
            and all(shown_in(one, other) for one, other in zip(shown, printed, strict=True))
        )
    if isinstance(shown, str) and isinstance(printed, str):
        return missing_text(shown, printed) is None
    return bool(shown == printed) and isinstance(shown, bool) is isinstance(printed, bool)


def last_document(printed: str) -> Any:
    """The last JSON document of an output: its last line, or all that begins at a line that opens one.

    Raises ValueError if there is none.
    """
    lines = printed.splitlines()
    for first in range(len(lines) - 1, -1, -1):
        if lines[first][:1] in ("{", "["):
            try:
                return orjson.loads("\n".join(lines[first:]))
            except orjson.JSONDecodeError:
                continue
    raise ValueError("no JSON document was printed")


def disagreement(output: Output, printed: str) -> str | None:
    """What an output that a page shows has, and the printed one has not; None if they agree."""
    if output.language == "text":
        line = missing_text(output.text, printed)
        return None if line is None else f"line {output.line}: not printed, or not in this order: {line!r}"
    try:
        found = last_document(printed)
    except ValueError as error:
        return f"line {output.line}: {error}"
    return None if shown_in(orjson.loads(output.text), found) else f"line {output.line}: the printed JSON differs"
