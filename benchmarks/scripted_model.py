"""A model endpoint inside the process: where the HTTP call to a model would be made, a script answers."""

import asyncio
import base64
import random
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import numpy as np
import orjson

from schemas.profile_schema import DEFAULT_SLOTS

BASE_URL: Final = "http://model.invalid/v1"
MODEL: Final = "scripted"
DIMENSION: Final = 1536
# What it finds in each window. A third of the slots is taken after a few windows, and then merge is asked.
FACTS: Final = 4
GISTS: Final = 2
SLOTS: Final = 24
VECTORS: Final = 64

MEMO: Final = "says that this has become more important since the move last spring"
GIST: Final = "spent the weekend with an old friend and talked about moving house"

_MESSAGE: Final = re.compile(r"^\d+ \[", re.MULTILINE)
_ITEM: Final = re.compile(r"^(\d+) \S+ / ", re.MULTILINE)


def configuration(**sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings of a worker that asks this model; sections are added to."""
    own: dict[str, dict[str, Any]] = {
        "extraction": {"provider": "openai"},
        "llm": {"base_url": BASE_URL, "model": MODEL},
        "embedding": {"model": MODEL, "dimension": DIMENSION},
    }
    return {name: {**own.get(name, {}), **sections.get(name, {})} for name in (own | sections)}


class ScriptedModel:
    """Answers chats and embeddings after `delay_s`, or after what `slow_s` has for the first text that a prompt holds.

    `calls` counts by what was asked for. Any answer is valid: facts and gists to extract, updates to merge.
    """

    def __init__(self, delay_s: float = 0.0, slow_s: dict[str, float] | None = None, seed: int = 7) -> None:
        self.calls: Counter[str] = Counter()
        self._delay_s = delay_s
        self._slow_s = slow_s or {}
        self._chance = random.Random(seed)
        self._slots = [(topic, name) for topic, names in DEFAULT_SLOTS.items() for name in names][:SLOTS]
        drawn = np.random.default_rng(seed).standard_normal((VECTORS, DIMENSION)).astype(np.float32)
        self._vectors = [base64.b64encode(row.tobytes()).decode() for row in drawn]

    def client(self) -> httpx2.AsyncClient:
        """For `run_worker`, to send requests by."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self._handle))

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        body = orjson.loads(request.content)
        if "input" in body:
            answer = self._embed(body["input"])
            delay_s = self._delay_s
        else:
            system, said = body["messages"][0]["content"], body["messages"][1]["content"]
            answer = self._complete(self._merge(said) if '"decisions"' in system else self._extract(said))
            delay_s = next((wait_s for mark, wait_s in self._slow_s.items() if mark in said), self._delay_s)
        if delay_s:
            await asyncio.sleep(delay_s)
        return httpx2.Response(200, content=orjson.dumps(answer), headers={"Content-Type": "application/json"})

    def _extract(self, said: str) -> dict[str, Any]:
        self.calls["extract"] += 1
        number, messages = self.calls["extract"], len(_MESSAGE.findall(said))
        cited = [self._chance.randrange(messages) for _ in range(FACTS + GISTS)]
        slots = self._chance.sample(self._slots, FACTS)
        return {
            "facts": [
                {"topic": topic, "sub_topic": name, "memo": f"{MEMO} ({number})", "message_indices": [index]}
                for (topic, name), index in zip(slots, cited[:FACTS], strict=True)
            ],
            "events": [{"gist": f"{GIST} ({number}.{index})", "message_indices": [index]} for index in cited[FACTS:]],
            "summary": f"{GIST} ({number})",
        }

    def _merge(self, said: str) -> dict[str, Any]:
        self.calls["merge"] += 1
        items = [int(index) for index in _ITEM.findall(said)]
        number = self.calls["merge"]
        return {
            "decisions": [{"index": item, "action": "update", "memo": f"{MEMO}, again ({number})"} for item in items]
        }

    def _embed(self, texts: list[str]) -> dict[str, Any]:
        self.calls["embed"] += 1
        data = [
            {"object": "embedding", "index": index, "embedding": self._chance.choice(self._vectors)}
            for index in range(len(texts))
        ]
        usage = {"prompt_tokens": 16 * len(texts), "total_tokens": 16 * len(texts)}
        return {"object": "list", "data": data, "model": MODEL, "usage": usage}

    def _complete(self, reply: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": orjson.dumps(reply).decode(), "refusal": None}
        return {
            "id": "scripted",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }
