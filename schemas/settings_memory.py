"""Settings of what becomes memory: when a window closes, who extracts, and which slots there are."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from schemas.profile_schema import Description, EventTag, ProfileTopic
from schemas.section import Section


class BufferSettings(Section):
    """When a window closes: a user's buffered messages go to extraction then. The long names are Memobase's."""

    store: Literal["memory", "rocksdb"] = Field(
        "memory",
        description="Where buffers are held: memory, or rocksdb for those that outgrow it. Both are rebuilt from the "
        "changelog topic.",
    )
    data_dir: Path = Field(Path("memostream-data"), description="Where the RocksDB copies lie; rebuilt when lost.")
    # Below 128 KiB our producers' batches of 256 KiB would not fit topics that take twice this.
    max_blob_bytes: int = Field(
        1 << 20, ge=1 << 17, le=3 << 20, description="A larger record is parked in dead-letters."
    )
    max_chat_blob_buffer_token_size: PositiveInt = Field(1024, description="A window closes at this many tokens.")
    max_chat_blob_buffer_process_token_size: PositiveInt = Field(
        16384,
        description="A window never holds more tokens than this; must not be below max_chat_blob_buffer_token_size.",
    )
    max_window_blobs: PositiveInt = Field(1000, description="A window also closes at this many blobs.")
    max_window_bytes: PositiveInt = Field(1 << 20, description="It also closes at this many bytes.")
    max_window_age_s: PositiveFloat = Field(
        24 * 3600.0, description="It also closes when its first message is this old."
    )
    buffer_flush_interval_s: PositiveFloat = Field(
        3600.0, description="It also closes when the user has been idle for this long."
    )
    tokenizer: Literal["auto", "tiktoken", "estimate"] = Field(
        "auto",
        description="What counts tokens: auto is tiktoken where its vocabulary can be had, estimate needs no download.",
    )
    transaction_max_records: PositiveInt = Field(500, description="Records that one Kafka transaction takes at most.")
    transaction_linger_s: NonNegativeFloat = Field(
        0.005, description="How long a quiet partition gathers them before it commits."
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "BufferSettings":
        if self.max_chat_blob_buffer_process_token_size < self.max_chat_blob_buffer_token_size:
            raise ValueError(
                "max_chat_blob_buffer_process_token_size must not be below max_chat_blob_buffer_token_size"
            )
        return self


class ExtractionSettings(Section):
    """Who extracts, in which language, and how many windows side by side."""

    provider: Literal["offline", "openai"] = Field(
        "offline",
        description="Who extracts. offline: rules, no model, for a first look. openai: any endpoint that speaks its "
        "API; see `llm`.",
    )
    language: Literal["auto", "en", "zh"] = Field(
        "auto", description="Of the prompts. Facts stay in the user's own language."
    )
    system_prompt: str | None = Field(None, description="Replaces the role text of the extract prompt.")
    concurrency: PositiveInt = Field(16, description="Users extracted side by side in one worker.")
    max_pending_windows: PositiveInt = Field(512, description="Windows read and not yet finished, in one worker.")
    max_pending_windows_per_user: PositiveInt = Field(
        32,
        description="The same of one user. More of a user wait as they are in Kafka, so that one who is slow stops "
        "nobody else.",
    )
    max_pending_bytes: PositiveInt = Field(
        32 << 20,
        description="Bytes, as in Kafka, of the windows that are read and not yet finished, in one worker; of one user "
        "an eighth of it. A window that is larger is read alone.",
    )
    max_surplus_bytes: NonNegativeInt = Field(
        64 << 20, description="Bytes of windows that wait so in one worker; then nothing is read until some are done."
    )
    hold_after_s: PositiveFloat = Field(
        60.0,
        description="The windows of a user who waits longer than this for an endpoint move to the table held_windows.",
    )
    retry_min_s: PositiveFloat = Field(0.5, description="Shortest wait between two tries at an endpoint that is away.")
    retry_max_s: PositiveFloat = Field(60.0, description="Longest wait between two tries.")
    failing_users_limit: PositiveInt = Field(
        5,
        description="When this many different users in a row fail validation, the endpoint is to blame and nothing is "
        "parked.",
    )


class ProfileSettings(Section):
    """What is remembered: the slots of profiles and the tags of events. Names and forms are Memobase's.

    A project may have its own in place of these: see `memostream project config`.
    """

    additional_user_profiles: tuple[ProfileTopic, ...] = Field(
        (),
        description="Topics beside the default ones. Of a topic that is there already, the sub_topics are added.",
        examples=[
            [
                {
                    "topic": "gaming",
                    "description": "What the user plays.",
                    "sub_topics": ["consoles", {"name": "favourite_game", "description": "The title, as sold."}],
                }
            ]
        ],
    )
    overwrite_user_profiles: tuple[ProfileTopic, ...] | None = Field(
        None,
        description="Topics in place of the default ones and of additional_user_profiles. Facts that fit none of them "
        "are still kept, under a topic that the model chooses, unless profile_strict_mode is set.",
    )
    profile_strict_mode: bool = Field(
        False, description="Keep facts of these topics and sub_topics only; every other fact is dropped."
    )
    profile_validate_mode: bool = Field(
        False,
        description="Let the model check the first value of a slot, too, against what belongs there. A sub_topic's own "
        "validate_value is stronger.",
    )
    max_profile_subtopics: int = Field(
        15, ge=2, description="A topic with more sub_topics than this is organized into fewer."
    )
    max_pre_profile_token_size: int = Field(
        128, ge=16, description="What a slot holds is shortened when it has more tokens than this."
    )
    event_tags: tuple[EventTag, ...] = Field(
        (),
        description="Tags that events may carry; others are dropped, and with none events carry none.",
        examples=[[{"name": "emotion", "description": "How the user feels about it."}]],
    )
    event_theme_requirement: Description = Field(
        None, description="What facts and events should be about; it stands among the rules of the prompt."
    )

    @model_validator(mode="after")
    def _check_strict(self) -> "ProfileSettings":
        if self.profile_strict_mode and self.overwrite_user_profiles == ():
            raise ValueError(
                "overwrite_user_profiles must hold a topic with profile_strict_mode: nothing could be kept"
            )
        return self
