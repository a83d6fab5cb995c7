"""The policy of a project, from the settings and from its own configuration."""

from typing import TypeVar

from schemas.errors import ConfigurationError
from schemas.profile_schema import DEFAULT_TOPICS, ProfilePolicy, ProfileTopic, join_topics
from schemas.project_config import ProjectConfig
from schemas.settings import ProfileSettings, Settings

Value = TypeVar("Value")


def policy_of(settings: Settings, project: ProjectConfig | None = None) -> ProfilePolicy:
    """The policy of a project, each key of whose configuration is stronger than the server's; None has none.

    Its additional topics come beside the server's own.
    """
    project = project or ProjectConfig()
    profile = settings.profile
    slots = slots_of(profile)
    if project.overwrite_user_profiles is not None:
        slots = join_topics(project.overwrite_user_profiles)
    elif project.additional_user_profiles:
        slots = join_topics([*slots, *project.additional_user_profiles])
    return ProfilePolicy(
        slots=slots,
        strict=_first(project.profile_strict_mode, profile.profile_strict_mode),
        validate=_first(project.profile_validate_mode, profile.profile_validate_mode),
        max_sub_topics=profile.max_profile_subtopics,
        max_memo_tokens=profile.max_pre_profile_token_size,
        event_tags=_first(project.event_tags, profile.event_tags),
        event_theme=project.event_theme_requirement or profile.event_theme_requirement,
        language=_first(project.language, settings.extraction.language),
        system_prompt=settings.extraction.system_prompt,
    )


def checked_policy(settings: Settings, config: ProjectConfig) -> ProfilePolicy:
    """The project's policy; raises ConfigurationError for one by which nothing could ever be kept."""
    policy = policy_of(settings, config)
    if policy.strict and not policy.slots:
        raise ConfigurationError("profile_strict_mode: without any topic nothing could be kept; add one, or unset it")
    return policy


def slots_of(profile: ProfileSettings) -> tuple[ProfileTopic, ...]:
    """Each topic once: what overwrites the default ones, else those and the additional ones."""
    if profile.overwrite_user_profiles is not None:
        return join_topics(profile.overwrite_user_profiles)
    return join_topics([*DEFAULT_TOPICS, *profile.additional_user_profiles])


def _first(own: Value | None, of_server: Value) -> Value:
    return of_server if own is None else own
