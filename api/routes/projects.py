"""A project's configuration, budget, users and usage."""

from dataclasses import asdict
from typing import Annotated, Final, Literal

from fastapi import Query
from pydantic import AfterValidator

from api.envelope import Envelope, JsonResponse, ok
from api.errors import ApiError
from api.inputs import Flag, without_nul
from api.models.projects import DayOfUsage, ProfileConfig, ProfileConfigBody, ProjectBilling, ProjectUsers
from api.routing import new_router
from api.scope import ScopeDep
from schemas.errors import ConfigurationError
from schemas.policies import checked_policy
from schemas.project_config import parse_project_config
from schemas.records import MAX_ID_BYTES
from storage.project_usage import read_billing, read_days
from storage.projects import clear_project_config, read_project_config, write_project_config
from storage.user_listing import list_users

MAX_PAGE: Final = 1000
MAX_OFFSET: Final = (1 << 31) - 1
MAX_DAYS: Final = 366
# Of what is said about a configuration: an unknown key may be as long as the text.
MAX_ERROR_CHARACTERS: Final = 1000

router = new_router("projects")


@router.get("/project/profile_config", response_model=Envelope[ProfileConfig], summary="A project's configuration")
async def get_profile_config(scope: ScopeDep) -> JsonResponse:
    """The YAML as it was set; empty where the server's settings hold."""
    async with scope.connection() as connection:
        stored = await read_project_config(connection, scope.project_id)
    return ok({"profile_config": "" if stored is None else stored.text})


@router.post("/project/profile_config", response_model=Envelope[None], summary="Set a project's configuration")
async def set_profile_config(scope: ScopeDep, body: ProfileConfigBody) -> JsonResponse:
    """Workers follow it within seconds.

    A configuration that is wrong anywhere is refused with errno 400, which names each wrong key and its line, and
    changes nothing.
    """
    now = scope.gateway.now()
    text = body.profile_config or ""
    if text:
        _check(scope, text)
    async with scope.transaction() as connection:
        if text:
            await write_project_config(connection, scope.project_id, text, now)
        else:
            await clear_project_config(connection, scope.project_id, now)
    return ok()


@router.get("/project/billing", response_model=Envelope[ProjectBilling], summary="What is left of the budget")
async def get_billing(scope: ScopeDep) -> JsonResponse:
    """Tokens of extraction; budgets are settings of the server."""
    limits = scope.gateway.settings.budget.of_project(scope.project_id)
    async with scope.connection() as connection:
        billing = await read_billing(connection, scope.project_id, limits, scope.gateway.now())
    return ok(
        {
            "token_left": billing.tokens_left,
            "next_refill_at": billing.refilled_at,
            "project_token_cost_month": billing.tokens_of_month,
        }
    )


@router.get("/project/users", response_model=Envelope[ProjectUsers], summary="The users of a project")
async def get_users(
    scope: ScopeDep,
    search: Annotated[
        str,
        AfterValidator(without_nul),
        Query(max_length=MAX_ID_BYTES, description="Part of the user's id, in any case."),
    ] = "",
    order_by: Annotated[
        Literal["updated_at", "profile_count", "event_count"], Query(description="What to order by.")
    ] = "updated_at",
    order_desc: Annotated[Flag, Query(description="The greatest first.")] = True,
    limit: Annotated[int, Query(ge=0, le=MAX_PAGE, description="Users on a page.")] = 10,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Users before this page.")] = 0,
) -> JsonResponse:
    """A user is listed from the first extraction on, or from `POST /users`."""
    async with scope.connection() as connection:
        page = await list_users(
            connection,
            scope.project_id,
            search=search,
            order_by=order_by,
            descending=order_desc,
            limit=limit,
            offset=offset,
        )
    found = []
    for user in page.users:
        fields = asdict(user)
        found.append({"id": fields.pop("user_id"), "project_id": scope.project_id, **fields})
    return ok({"users": found, "count": page.count})


@router.get("/project/usage", response_model=Envelope[list[DayOfUsage]], summary="What a project used by day")
async def get_usage(
    scope: ScopeDep,
    last_days: Annotated[int, Query(ge=1, le=MAX_DAYS, description="How many days, with today.")] = 7,
) -> JsonResponse:
    """Days of UTC, today first. Messages that came by Kafka are in the tokens and not in the inserts."""
    async with scope.connection() as connection:
        days = await read_days(connection, scope.project_id, last_days, scope.gateway.now())
    return ok(
        [
            {
                "date": day.day,
                "total_insert": day.inserts.calls,
                "total_success_insert": day.inserts.stored,
                "total_input_token": day.input_tokens,
                "total_output_token": day.output_tokens,
            }
            for day in days
        ]
    )


def _check(scope: ScopeDep, text: str) -> None:
    try:
        checked_policy(scope.gateway.settings, parse_project_config(text))
    except ConfigurationError as error:
        # A key may hold what no answer can.
        told = str(error)[:MAX_ERROR_CHARACTERS].encode(errors="replace").decode()
        raise ApiError(400, told) from None
