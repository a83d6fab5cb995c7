"""Shapes of what the routes of a project take and answer."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.project_config import MAX_CHARACTERS

CONFIG = "language: en\nprofile_strict_mode: true\noverwrite_user_profiles:\n- {topic: plan, sub_topics: [tier]}\n"


class ProfileConfigBody(BaseModel):
    """A project's own configuration, in place of the one that it has."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"profile_config": CONFIG}]})

    profile_config: str | None = Field(
        description=f"YAML of at most {MAX_CHARACTERS} characters; null or an empty text removes it.",
    )


class ProfileConfig(BaseModel):
    """A project's own configuration."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"profile_config": CONFIG}]})

    profile_config: str = Field(description="YAML as it was set; empty where the project has none.")


class ProjectBilling(BaseModel):
    """What a project has used, and what is left of its budget of tokens."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "token_left": 184200,
                    "next_refill_at": "2026-11-21T00:00:00+00:00",
                    "project_token_cost_month": 912400,
                }
            ]
        }
    )

    token_left: int | None = Field(description="Until the next refill; null without a budget of tokens.")
    next_refill_at: datetime | None = Field(description="The next midnight in UTC; null without a budget of tokens.")
    project_token_cost_month: int = Field(
        description="Prompt, completion and embedding tokens since the first of this month in UTC."
    )


class ProjectUser(BaseModel):
    """A user of a project."""

    id: str = Field(description="The user's id.", examples=["ann"])
    project_id: str = Field(description="The project's id.", examples=["shop"])
    additional_fields: dict[str, Any] | None = Field(description="What was stored with the user.", examples=[{}])
    created_at: datetime = Field(description="When the user's row was made.")
    updated_at: datetime = Field(description="When anything in the user's memory changed last.")
    profile_count: int = Field(description="Entries of the profile.", examples=[12])
    event_count: int = Field(description="Events.", examples=[3])


class ProjectUsers(BaseModel):
    """A page of users."""

    users: list[ProjectUser] = Field(description="In the order that was asked for.")
    count: int = Field(description="Users that match, also those on other pages.", examples=[1])


class DayOfUsage(BaseModel):
    """A day of UTC."""

    date: date
    total_insert: int = Field(description="Calls that insert, at the gateway.", examples=[120])
    total_success_insert: int = Field(description="Those that were answered with an id.", examples=[120])
    total_input_token: int = Field(description="Prompt tokens of extraction.", examples=[48000])
    total_output_token: int = Field(description="Completion tokens of extraction.", examples=[5100])
