"""What becomes of each fault of an endpoint at each step; docs/how-to/models.md shows the same table."""

from dataclasses import dataclass
from typing import Final, Literal

from tests.support import scripted_openai as scripted
from tests.support.scripted_openai import Answer, Fault, Step

# What follows while the fault lasts for everybody, in the words of the documentation.
Lasting = Literal["applied", "held: endpoint-away", "held: endpoint-refused", "held once several users fail"]
# What follows where it is about one message.
OfOne = Literal["", "applied", "parked: content-rejected", "parked: too-long"]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault: how chat calls and embedding calls meet it, and what follows in extract, merge and embed.

    Of organize and compact: what does not come through these in time waits likewise, but nothing that is about content
    is parked there, for then a profile is only left untidied.
    """

    name: str
    chat: Answer
    embed: Fault | None
    lasting: Lasting
    of_one: OfOne = ""

    def answer(self, step: Step) -> Answer:
        return self.embed if step == "embed" else self.chat

    def lasts(self, step: Step) -> Lasting:
        if step in ("organize", "compact") and self.of_one:
            return "applied"
        return self.lasting

    def is_about_one(self, step: Step) -> OfOne:
        return "applied" if self.of_one and step in ("organize", "compact") else self.of_one


AWAY: Final = "held: endpoint-away"
REFUSED: Final = "held: endpoint-refused"
SEVERAL: Final = "held once several users fail"
CONTENT: Final = "parked: content-rejected"
TOO_LONG: Final = "parked: too-long"

_CONTENT_FILTER: Final = Fault("status", 400, {"error": {"code": "content_filter", "message": "no"}})

TABLE: Final = (
    Row("429 with Retry-After", scripted.rate_limited(0.02), scripted.rate_limited(0.02), AWAY),
    Row("500", scripted.server_error(), scripted.server_error(), AWAY),
    Row("no answer in time", scripted.hang(), scripted.hang(), AWAY),
    Row("connection cut", scripted.cut_connection(), scripted.cut_connection(), AWAY),
    Row("body that is no JSON", scripted.malformed_json(), scripted.malformed_json(), AWAY),
    Row("no choices, no vectors", scripted.empty_answer(), scripted.empty_answer(), AWAY),
    Row("slow answer", scripted.slow(0.1), scripted.slow(0.1), "applied"),
    Row("401", scripted.unauthorized(), scripted.unauthorized(), REFUSED),
    Row("404", scripted.unknown_model(), scripted.unknown_model(), REFUSED),
    Row("insufficient_quota", scripted.no_quota(), scripted.no_quota(), REFUSED),
    Row("too long for the model", scripted.context_too_long(), scripted.context_too_long(), REFUSED, TOO_LONG),
    Row("400 without a reason", scripted.unexplained(), scripted.unexplained(), REFUSED, CONTENT),
    Row("refusal, content filter", scripted.refusal(), _CONTENT_FILTER, SEVERAL, CONTENT),
    Row("answer that is no JSON", "Well, I think", None, SEVERAL, CONTENT),
    Row("answer of another schema", {"wrong": 1}, None, SEVERAL, CONTENT),
)

STEPS: Final[tuple[Step, ...]] = ("extract", "merge", "organize", "compact", "embed")
