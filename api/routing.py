"""Routers whose requests are read strictly: bodies by orjson, which takes no NaN, no lone surrogate, no wrong UTF-8."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from api.contract import API_PREFIX


class StrictRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = orjson.loads(await self.body())
            except orjson.JSONDecodeError as error:
                # What FastAPI expects; the document would stand in its answer.
                raise json.JSONDecodeError(error.msg, "", 0) from None
        return self._json


class StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await answer(StrictRequest(request.scope, request.receive))

        return handle


def new_router(tag: str) -> APIRouter:
    """A router below /api/v1; paths in it begin after that. `tag` is its chapter in the documentation."""
    return APIRouter(prefix=API_PREFIX, tags=[tag], route_class=StrictRoute)
