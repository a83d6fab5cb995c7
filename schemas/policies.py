"""From settings to the policy of a profile."""

from schemas.profile_schema import DEFAULT_TOPICS, ProfilePolicy, ProfileTopic, join_topics
from schemas.settings import ProfileSettings, Settings


def policy_of(settings: Settings) -> ProfilePolicy:
    """The server's policy, which holds for every project that has no configuration of its own."""
    return ProfilePolicy(
        slots=slots_of(settings.profile),
        language=settings.extraction.language,
        system_prompt=settings.extraction.system_prompt,
    )


def slots_of(profile: ProfileSettings) -> tuple[ProfileTopic, ...]:
    """Each topic once: what overwrites the default ones, else those and the additional ones."""
    if profile.overwrite_user_profiles is not None:
        return join_topics(profile.overwrite_user_profiles)
    return join_topics([*DEFAULT_TOPICS, *profile.additional_user_profiles])
