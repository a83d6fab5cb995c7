"""Memobase's configuration keys and variables: what each takes, and which setting of ours it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, PositiveInt

from schemas.profile_schema import EventTag, ProfileTopic

# now: as in Memobase, or better. later: read and checked, and named at start. never: nothing here that it could set.
Effect = Literal["now", "later", "never"]


def _as_text(value: object) -> object:
    # YAML reads an unquoted key or version as a number or a date.
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)]
Texts = dict[Text, Text]
Timezone = Literal["UTC", "America/New_York", "Europe/London", "Asia/Tokyo", "Asia/Shanghai"]
Topics = tuple[ProfileTopic, ...]


@dataclass(frozen=True, slots=True)
class MemobaseKey:
    """A key of Memobase's flat `config.yaml`; null is unset for all of them.

    `becomes` is section and key of ours. `note` tells what differs, or why it has no effect (yet). `moot` is a value
    that asks for nothing that is not so anyway.
    """

    name: str
    takes: Any
    effect: Effect
    becomes: tuple[str, str] | None = None
    note: str = ""
    moot: object = None


def _now(name: str, takes: Any, section: str, key: str, note: str = "") -> MemobaseKey:
    return MemobaseKey(name, takes, "now", (section, key), note)


def _later(name: str, takes: Any, note: str, moot: object = None) -> MemobaseKey:
    return MemobaseKey(name, takes, "later", None, note, moot)


def _never(name: str, takes: Any, note: str, moot: object = None) -> MemobaseKey:
    return MemobaseKey(name, takes, "never", None, note, moot)


_ALL: Final = (
    _now(
        "llm_api_key", Text, "llm", "api_key", "with it, `extraction.provider` is `openai` unless our own key says so"
    ),
    _now("llm_base_url", Text, "llm", "base_url", "implies the provider like llm_api_key"),
    _now("best_llm_model", Text, "llm", "model", "implies the provider like llm_api_key"),
    _now("llm_openai_default_query", Texts, "llm", "default_query"),
    _now("llm_openai_default_header", Texts, "llm", "default_headers"),
    _never(
        "llm_style",
        Literal["openai", "doubao_cache"],
        "every endpoint is spoken to by OpenAI's API; the fixed part of a prompt comes first, so that it can be cached",
        moot="openai",
    ),
    _now("thinking_llm_model", Text, "llm", "thinking_model", "for the role-play route"),
    _now("summary_llm_model", Text, "llm", "summary_model", "for organize and compact; extract writes the summaries"),
    _never("llm_tab_separator", Text, "models answer in JSON, so nothing has to be separated"),
    _now("language", Literal["en", "zh"], "extraction", "language", "unset is `auto` here: the user's own language"),
    _now("system_prompt", Text, "extraction", "system_prompt"),
    _now("persistent_chat_blobs", bool, "storage", "persistent_chat_blobs"),
    _now(
        "max_chat_blob_buffer_token_size",
        PositiveInt,
        "buffer",
        "max_chat_blob_buffer_token_size",
        "raises max_chat_blob_buffer_process_token_size with it if that is unset",
    ),
    _now(
        "max_chat_blob_buffer_process_token_size",
        PositiveInt,
        "buffer",
        "max_chat_blob_buffer_process_token_size",
        "a larger buffer becomes several windows, nothing is dropped",
    ),
    _now(
        "buffer_flush_interval",
        PositiveInt,
        "buffer",
        "buffer_flush_interval_s",
        "seconds; works here, Memobase only reads it",
    ),
    _later("use_timezone", Timezone, "dates are UTC", moot="UTC"),
    _now("enable_event_embedding", bool, "embedding", "enabled"),
    MemobaseKey(
        "embedding_provider",
        Literal["openai", "jina", "ollama", "lmstudio"],
        "now",
        None,
        "ollama and lmstudio are spoken to by OpenAI's API, and for ollama `/v1` is added to the address; jina sets "
        "embedding.api and has its address by default",
    ),
    _now("embedding_model", Text, "embedding", "model"),
    _now("embedding_dim", PositiveInt, "embedding", "dimension"),
    _now(
        "embedding_api_key",
        Text,
        "embedding",
        "api_key",
        "with embedding_provider openai: unset, both key and address are those of the LLM",
    ),
    _now(
        "embedding_base_url",
        Text,
        "embedding",
        "base_url",
        "with embedding_provider openai: OpenAI's own if unset, and as in Memobase without effect while "
        "embedding_api_key is unset",
    ),
    _never("embedding_max_token_size", PositiveInt, "Memobase itself does not use it"),
    _now("additional_user_profiles", Topics, "profile", "additional_user_profiles"),
    _now("overwrite_user_profiles", Topics, "profile", "overwrite_user_profiles"),
    _now("profile_strict_mode", bool, "profile", "profile_strict_mode", "decided in code, not only asked for"),
    _now(
        "profile_validate_mode",
        bool,
        "profile",
        "profile_validate_mode",
        "unset is false here: a first value is checked where a slot says `validate_value: true`; one that says false "
        "is never checked",
    ),
    _now(
        "max_profile_subtopics", PositiveInt, "profile", "max_profile_subtopics", "no fact of the same window is lost"
    ),
    _now("max_pre_profile_token_size", PositiveInt, "profile", "max_pre_profile_token_size"),
    _now("event_tags", tuple[EventTag, ...], "profile", "event_tags", "asked for in the same call as the facts"),
    _now("event_theme_requirement", Text, "profile", "event_theme_requirement"),
    _never("enable_event_summary", bool, "Memobase itself no longer uses it"),
    _never("minimum_chats_token_size_for_event_summary", int, "Memobase itself does not use it"),
    _never("cache_user_profiles_ttl", int, "nothing is cached: profiles are read where they are written"),
    _never("telemetry_deployment_environment", Text, "no telemetry is sent"),
)

MEMOBASE_KEYS: Final[Mapping[str, MemobaseKey]] = {key.name: key for key in _ALL}

MEMOBASE_PREFIX: Final = "MEMOBASE_"

# Of the variables below, the one that is read, and what it becomes.
ACCESS_TOKEN: Final = ("ACCESS_TOKEN", ("api", "root_token"))

# Other variables of Memobase's server. Their names are anybody's, so they count only beside its own keys.
MEMOBASE_VARIABLES: Final[Mapping[str, str]] = {
    "DATABASE_URL": "not read: set MEMOSTREAM_STORAGE__DATABASE_URL to postgresql+asyncpg://USER@HOST/NAME, a database "
    "of its own",
    "REDIS_URL": "not read: there is no Redis here",
    "ACCESS_TOKEN": "is `api.root_token`, unless that is set",
    "PROJECT_ID": "not read: it named Redis keys; a record's project_id names its project here",
    "API_HOSTS": "not read: the gateway listens where api.host and api.port say",
    "USE_CORS": "not read: set api.cors_origins",
    "ADMIN_URL": "not read: there is no billing here",
    "ADMIN_TOKEN": "not read: there is no billing here",
    "USAGE_TOKEN_LIMIT_ACTIVE": "not read: a quota of a month by kind of project; see budget, which is of a day",
    "USAGE_TOKEN_LIMIT_PRO": "not read: a quota of a month by kind of project; see budget, which is of a day",
    "USAGE_TOKEN_LIMIT_ULTRA": "not read: a quota of a month by kind of project; see budget, which is of a day",
    "LOG_FORMAT": "not read: set worker.log_format to console or json",
}
