"""An OpenAI-compatible server over real HTTP that answers from a script, with faults on demand, and counts calls."""

import asyncio
import base64
import hashlib
import itertools
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import numpy as np
from aiohttp import web

FaultKind = Literal["status", "hang", "cut", "malformed", "empty", "refusal", "content_filter", "cut_off", "slow"]
ChatStep = Literal["extract", "merge", "organize", "compact"]
Step = Literal["extract", "merge", "organize", "compact", "embed"]

# Words that only the prompt of this step holds.
_STEP_MARKS: Final[tuple[tuple[str, ChatStep], ...]] = (
    ('"decisions"', "merge"),
    ('"joins"', "organize"),
    ('"memos"', "compact"),
)

_LINE: Final = re.compile(r"^(\d+) \[[^\]]*\] (?:[^:\n]*\()?(\w+)\)?: ?(.*)$")
_FACT: Final = re.compile(r"fact (\w+)/(\w+): (.+)")
_EVENT: Final = re.compile(r"event: (.+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad answer; the functions below make the usual ones."""

    kind: FaultKind
    status: int = 200
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def rate_limited(retry_after_s: float | str | None = None) -> Fault:
    return _status(429, "rate_limit_exceeded", {} if retry_after_s is None else {"Retry-After": str(retry_after_s)})


def no_quota() -> Fault:
    return _status(429, "insufficient_quota")


def unauthorized() -> Fault:
    return _status(401, "invalid_api_key")


def unknown_model() -> Fault:
    return _status(404, "model_not_found")


def context_too_long() -> Fault:
    return _status(400, "context_length_exceeded")


def server_error(status: int = 500) -> Fault:
    return _status(status, "server_error")


def bad_request(param: str, message: str = "unsupported") -> Fault:
    return _status(400, "unsupported_parameter", param=param, message=message)


def unexplained() -> Fault:
    """A bad request of which nobody says what is bad about it."""
    return _status(400, "invalid_request_error", message="Bad Request")


def empty_answer() -> Fault:
    """No choices, or no embeddings, under status 200."""
    return Fault("empty")


def refusal() -> Fault:
    return Fault("refusal")


def content_filter() -> Fault:
    return Fault("content_filter")


def cut_off() -> Fault:
    """The answer ends at the token limit."""
    return Fault("cut_off")


def hang() -> Fault:
    """No answer until the server is closed."""
    return Fault("hang")


def cut_connection() -> Fault:
    return Fault("cut")


def malformed_json() -> Fault:
    """A body that is no JSON, under status 200."""
    return Fault("malformed")


def slow(seconds: float) -> Fault:
    """The default answer after a while."""
    return Fault("slow", seconds=seconds)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came; `prompt` is all message texts, `kind` what was asked for."""

    kind: Step
    body: dict[str, Any]
    headers: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def prompt(self) -> str:
        """All that the model reads of messages, or of texts to embed."""
        if self.kind == "embed":
            return "\n".join(self.body["input"])
        return "\n".join(_text_of(message) for message in self.body.get("messages", ()))

    @property
    def input(self) -> str:
        """The first user message."""
        return _text_of(self.body["messages"][1])

    @property
    def images(self) -> list[str]:
        """The addresses of the images that the first user message shows, each after its number: `0:https://…`."""
        parts = "" if self.kind == "embed" else self.body["messages"][1]["content"]
        if isinstance(parts, str):
            return []
        labelled = itertools.pairwise(parts)
        return [f"{label['text']}{part['image_url']['url']}" for label, part in labelled if part["type"] == "image_url"]


# A text is the model's answer as it stands; a dict or list is sent as JSON; None is the default answer.
Answer = str | dict[str, Any] | list[Any] | Fault | None


class ScriptedOpenAI:
    """`async with ScriptedOpenAI() as server:` then `server.base_url`.

    Without a script, a line `fact <topic>/<sub_topic>: <memo>` of a user is extracted as that fact and
    `event: <gist>` as that event, the summary is the first memo, a merge updates every slot to its last news, organize
    joins what is over the limit, compact leaves out what is said twice, and an embedding is drawn from the text.
    `script()` queues answers for the next chat calls, `fail()` those for the next calls of a step, and while `broken`
    has one for a step, all its calls get it; `always` answers every chat call while it is set, as `embed_always` does
    for embeddings; `answer` is asked before the default, also for embeddings, where it may only answer with a fault.
    """

    def __init__(
        self,
        answer: Callable[[Call], Answer] | None = None,
        *,
        dimension: int = 16,
        formats: tuple[str, ...] = ("json_schema", "json_object"),
        base64_embeddings: bool = True,
    ) -> None:
        self.answer = answer
        self.always: Fault | None = None
        self.embed_always: Fault | None = None
        # What it lists; it answers for any model.
        self.models: list[str] = []
        self.calls: list[Call] = []
        # Chat calls that were open at a time, at most.
        self.most_open = 0
        self._open = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.dimension = dimension
        self._formats = formats
        self._base64 = base64_embeddings
        self._script: deque[Answer] = deque()
        self.broken: dict[Step, Answer] = {}
        self._faults: dict[Step, deque[Answer]] = {}
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def script(self, *answers: Answer) -> None:
        self._script.extend(answers)

    def fail(self, step: Step, *answers: Answer) -> None:
        self._faults.setdefault(step, deque()).extend(answers)

    def count(self, kind: Step) -> int:
        return sum(call.kind == kind for call in self.calls)

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_post("/v1/embeddings", self._embed)
        application.router.add_get("/v1/models", self._list_models)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            return await self._answer_chat(request)
        finally:
            self._open -= 1

    async def _answer_chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        call = Call(_step_of(body), body, request.headers, request.query)
        self.calls.append(call)
        wanted = body.get("response_format", {}).get("type")
        if wanted is not None and wanted not in self._formats:
            return _respond(bad_request("response_format", f"response_format {wanted} is not supported"))
        answer = self.always or self._next_fault(call.kind) or (self._script.popleft() if self._script else None)
        if answer is None and self.answer is not None:
            answer = self.answer(call)
        if isinstance(answer, Fault):
            if answer.kind != "slow":
                return await self._fail(request, answer)
            await asyncio.sleep(answer.seconds)
            answer = None
        if answer is None:
            answer = default_answer(call)
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return await _stream(request, text) if body.get("stream") else self._complete(call, text)

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        call = Call("embed", body, request.headers, request.query)
        self.calls.append(call)
        fault = self.embed_always or self._next_fault("embed") or (self.answer(call) if self.answer else None)
        if isinstance(fault, Fault):
            if fault.kind != "slow":
                return await self._fail(request, fault)
            await asyncio.sleep(fault.seconds)
        as_base64 = self._base64 and body.get("encoding_format") == "base64"
        data = []
        for index, text in enumerate(body["input"]):
            vector = embedding_of(text, self.dimension)
            encoded = base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.tolist()
            data.append({"object": "embedding", "index": index, "embedding": encoded})
        tokens = sum(len(text) // 4 + 1 for text in body["input"])
        self.prompt_tokens += tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        # Out of order on purpose: only `index` says which text a vector belongs to.
        return web.json_response({"object": "list", "data": data[::-1], "model": body["model"], "usage": usage})

    def _next_fault(self, step: Step) -> Answer:
        queue = self._faults.get(step)
        return queue.popleft() if queue else self.broken.get(step)

    async def _list_models(self, _: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "scripted"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        match fault.kind:
            case "hang":
                await self._closing.wait()
                return web.Response(status=503)
            case "cut":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            case "malformed":
                return web.Response(text='{"choices": [', content_type="application/json")
            case "empty":
                return web.json_response({"model": "scripted", "choices": [], "data": []})
            case "refusal":
                return web.json_response(_completion(None, refusal="I cannot help with that."))
            case "content_filter":
                return web.json_response(_completion("", finish="content_filter"))
            case "cut_off":
                return web.json_response(_completion('{"facts": [', finish="length"))
            case _:
                return _respond(fault)

    def _complete(self, call: Call, text: str) -> web.Response:
        prompt_tokens, completion_tokens = len(call.prompt) // 4, len(text) // 4
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        return web.json_response(_completion(text, tokens=(prompt_tokens, completion_tokens)))


def default_answer(call: Call) -> dict[str, Any]:
    """What a model that follows the fact lines to the letter would answer."""
    defaults = {"extract": _extract, "merge": _merge, "organize": _organize, "compact": _compact}
    return defaults[call.kind](call.input)


def embedding_of(text: str, dimension: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """(dimension,) float32 of unit length, drawn from the text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _extract(text: str) -> dict[str, Any]:
    facts: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    index, role = -1, ""
    for line in text.splitlines():
        content = line.strip()
        if match := _LINE.match(line):
            index, role, content = int(match[1]), match[2], match[3]
        if role not in ("user", "summary", "doc", "code", "transcript"):
            continue
        if fact := _FACT.match(content):
            facts.append({"topic": fact[1], "sub_topic": fact[2], "memo": fact[3], "message_indices": [index]})
        elif event := _EVENT.match(content):
            events.append({"gist": event[1], "tags": [], "message_indices": [index], "occurred_at": None})
    return {"facts": facts, "events": events, "summary": facts[0]["memo"] if facts else None}


def _merge(text: str) -> dict[str, Any]:
    news: dict[int, str] = {}
    index = -1
    for line in text.splitlines():
        if match := re.match(r"(\d+) \S+ / ", line):
            index = int(match[1])
        elif match := re.match(r"  news \[[^\]]*\]: (.*)", line):
            news[index] = match[1]
    return {"decisions": [{"index": item, "action": "update", "memo": memo} for item, memo in news.items()]}


def _organize(text: str) -> dict[str, Any]:
    """The members over a topic's limit, and one more, become one; those marked with `*` are left alone."""
    joins: list[dict[str, Any]] = []
    goal, free, held = 0, list[tuple[int, str, str]](), 0

    def join() -> None:
        if held > goal and len(free) > 1:
            joined = free[: held - goal + 1]
            memo = "; ".join(content for _, _, content in joined)
            joins.append({"members": [index for index, _, _ in joined], "sub_topic": joined[0][1], "memo": memo})

    for line in text.splitlines():
        if match := re.match(r"\S+: (\d+)$", line):
            join()
            goal, free, held = int(match[1]), [], 0
        elif match := re.match(r"  (\d+) (\S+?)(\*?) \[[^\]]*\]: (.*)", line):
            held += 1
            if not match[3]:
                free.append((int(match[1]), match[2], match[4]))
    join()
    return {"joins": joins}


def _compact(text: str) -> dict[str, Any]:
    memos: dict[int, str] = {}
    index = -1
    for line in text.splitlines():
        if match := re.match(r"(\d+) \S+ / \S+: (.*)", line):
            index = int(match[1])
            memos[index] = " ".join(dict.fromkeys(match[2].split()))
    return {"memos": [{"index": item, "memo": memo} for item, memo in memos.items()]}


def _text_of(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content if "text" in part)


def _step_of(body: Mapping[str, Any]) -> ChatStep:
    system = str(body["messages"][0]["content"])
    return next((step for mark, step in _STEP_MARKS if mark in system), "extract")


def _completion(
    text: str | None, *, finish: str = "stop", refusal: str | None = None, tokens: tuple[int, int] = (1, 1)
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


async def _stream(request: web.Request, text: str) -> web.StreamResponse:
    """The answer word by word, as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for delta in ({"role": "assistant", "content": ""}, *({"content": word} for word in re.findall(r"\S+\s*", text))):
        chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        await response.write(b"data: %b\n\n" % json.dumps(chunk).encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def _status(
    status: int, code: str, headers: Mapping[str, str] | None = None, *, param: str | None = None, message: str = "no"
) -> Fault:
    error = {"message": message, "type": code, "code": code, "param": param}
    return Fault("status", status, {"error": error}, headers or {})


def _respond(fault: Fault) -> web.Response:
    return web.json_response(dict(fault.body), status=fault.status, headers=dict(fault.headers))
