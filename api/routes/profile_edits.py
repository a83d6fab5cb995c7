"""Entries of a profile, added, changed and removed by hand."""

from typing import Annotated

from fastapi import Query

from api.envelope import Envelope, JsonResponse, ok
from api.errors import ApiError
from api.hand_edits import NO_ENTRY, editing, joining, require_user, slot_of, stated
from api.inputs import Flag, ProfileId, UserId
from api.models.profiles import MadeEntry, ProfileBody
from api.routing import new_router
from api.scope import ScopeDep
from storage.editing_profiles import add_entry, change_entry, remove_entry

router = new_router("profile")


@router.post("/users/profile/{user_id}", response_model=Envelope[MadeEntry], summary="Add an entry to a profile")
async def post_profile(scope: ScopeDep, user_id: UserId, body: ProfileBody) -> JsonResponse:
    """Readable at once, and published as any change of the profile.

    A profile has one entry a topic and sub_topic: where there is one, it says both from then on (in slots of one
    value, as a name, the new alone), and its id is answered. The same again changes nothing, so this call may be
    sent again.
    """
    slot, content = slot_of(body.attributes), stated(body.content)
    policy = await scope.gateway.policies.policy_of(scope.project_id)
    await require_user(scope, user_id)
    async with editing(scope) as edits:
        profile_id = await add_entry(edits, scope.project_id, user_id, slot, content, joining(policy, slot))
    return ok({"id": str(profile_id)})


@router.put(
    "/users/profile/{user_id}/{profile_id}", response_model=Envelope[None], summary="Change an entry of a profile"
)
async def put_profile(
    scope: ScopeDep,
    user_id: UserId,
    profile_id: ProfileId,
    body: ProfileBody,
    must_exist: Annotated[
        Flag, Query(description="Answer errno 404 where there is no such entry; Memobase answers a success.")
    ] = False,
) -> JsonResponse:
    """Other content, and another topic and sub_topic where they are named; errno 409 where another entry has those.

    Messages from before this call that are extracted after it do not undo it.
    """
    slot = None if body.attributes is None else slot_of(body.attributes)
    content = stated(body.content)
    async with editing(scope) as edits:
        is_there = await change_entry(edits, scope.project_id, user_id, profile_id, content, slot)
    if must_exist and not is_there:
        raise ApiError(404, NO_ENTRY)
    return ok()


@router.delete(
    "/users/profile/{user_id}/{profile_id}", response_model=Envelope[None], summary="Remove an entry of a profile"
)
async def delete_profile(scope: ScopeDep, user_id: UserId, profile_id: ProfileId) -> JsonResponse:
    """Messages from before this call that are extracted after it do not bring it back; its history stays."""
    async with editing(scope) as edits:
        is_there = await remove_entry(edits, scope.project_id, user_id, profile_id)
    if not is_there:
        raise ApiError(404, NO_ENTRY)
    return ok()
