"""The scripted model of a run: what it extracts follows from the messages alone, whatever it is told to break."""

from typing import Any

from aiohttp import web

from tests.chaos.load import GARBLED, REFUSED
from tests.support.scripted_openai import Answer, Call, ScriptedOpenAI, cut_connection, refusal

# A prompt and a conversation; what comes after it is a reply sent back with what is wrong with it.
FIRST_CALL_MESSAGES = 2
NO_JSON = "I would rather talk about the weather."


class ChaosModel(ScriptedOpenAI):
    """Refuses some contents for good, and makes no sense at the first of two tries while `babbles`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(self._answer_oddly, **options)
        self.babbles = False

    def _answer_oddly(self, call: Call) -> Answer:
        # Nobody asks for them here, and they are too many to be kept.
        self.calls.clear()
        if call.kind == "embed":
            return None
        if REFUSED in call.input:
            return refusal()
        if GARBLED in call.input:
            return NO_JSON
        if self.babbles and len(call.body["messages"]) <= FIRST_CALL_MESSAGES:
            return NO_JSON
        return None

    async def leave(self) -> None:
        """Refuse connections."""
        assert self._runner is not None
        self.always = self.embed_always = cut_connection()
        for site in list(self._runner.sites):
            await site.stop()

    async def come_back(self) -> None:
        """Take them again, at the same address."""
        assert self._runner is not None
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.always = self.embed_always = None
