"""Every setting, in frozen sections; `load_settings` reads them from the places that people set them in."""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from schemas.addresses import DatabaseUrl, Endpoint, Servers
from schemas.budgets import BudgetSettings
from schemas.errors import ConfigurationError
from schemas.mapping import IngestSettings
from schemas.prices import ModelPrice, PriceSettings
from schemas.profile_schema import Description, EventTag, ProfileTopic
from schemas.settings_sources import Layers

BUNDLED_EMBEDDING_MODEL: Final = "wordllama-l2-supercat-256"
DEFAULT_EMBEDDING_MODEL: Final = "text-embedding-3-small"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KafkaSettings(Section):
    """The broker, the topics' names and shapes, and how clients reach them."""

    bootstrap_servers: Servers = Field(
        "127.0.0.1:9092",
        description="Where the broker is: host:port, comma-separated. Commands on this machine find that of "
        "`memostream up` by themselves.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How clients talk to the broker: with TLS (SSL), with a login (SASL), both or neither."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="Used with a SASL protocol, which needs the user name and the password."
    )
    sasl_username: str | None = Field(None, description="User name of the login.")
    sasl_password: SecretStr | None = Field(None, description="Password of the login.")
    ssl_ca_file: Path | None = Field(
        None, description="PEM file with the authorities that sign the broker's certificate; the system's if null."
    )
    ssl_cert_file: Path | None = Field(None, description="PEM file with a certificate of our own, for mutual TLS.")
    ssl_key_file: Path | None = Field(None, description="PEM file with the key of that certificate.")
    ssl_key_password: SecretStr | None = Field(None, description="Password of that key, if it has one.")
    topic_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="In front of the names of all topics, consumer groups and transactional ids.",
    )
    partitions: PositiveInt = Field(
        8,
        description="Of chat-messages, extraction-windows and the changelog alike. Fixed for ever: another count would "
        "break each user's order.",
    )
    replication_factor: PositiveInt = Field(1, description="Of the topics that memostream creates; 3 in production.")
    chat_retention_ms: int = Field(
        -1, description="How long chat-messages keeps its records; -1 is for ever, as replay wants it."
    )
    windows_retention_ms: int = Field(30 * 24 * 3600 * 1000, description="The same of extraction-windows.")
    changes_retention_ms: int = Field(
        30 * 24 * 3600 * 1000, description="The same of profile-updated and event-updated."
    )
    dead_letters_retention_ms: int = Field(-1, description="The same of dead-letters.")
    session_timeout_s: PositiveFloat = Field(
        8.0, description="The partitions of a worker that was killed stand still for this long."
    )
    heartbeat_interval_s: PositiveFloat = Field(
        2.0, description="How often a worker tells the broker that it is alive; a third of the session timeout or less."
    )
    transaction_timeout_s: PositiveFloat = Field(
        20.0, description="The broker aborts a transaction that is open for this long."
    )
    request_timeout_s: PositiveFloat = Field(
        40.0, description="How long a request to the broker may take before it is given up."
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> "KafkaSettings":
        if self.security_protocol.startswith("SASL") and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError("sasl_username and sasl_password must be set with a SASL security_protocol")
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise ValueError("ssl_cert_file and ssl_key_file must be set together")
        return self

    def ssl_context(self) -> ssl.SSLContext | None:
        """A context for SSL and SASL_SSL, else None; raises ConfigurationError when a file cannot be read."""
        if not self.security_protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.ssl_ca_file is None else str(self.ssl_ca_file))
            if self.ssl_cert_file is not None and self.ssl_key_file is not None:
                password = self.ssl_key_password.get_secret_value() if self.ssl_key_password else None
                context.load_cert_chain(self.ssl_cert_file, self.ssl_key_file, password)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"kafka.ssl_*: a file cannot be read ({type(error).__name__})") from error
        return context

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes: where the broker is and how to be let in."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
            "request_timeout_ms": int(self.request_timeout_s * 1000),
        }
        if self.security_protocol.startswith("SASL") and self.sasl_password is not None:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return options


class StorageSettings(Section):
    """Postgres with pgvector."""

    database_url: DatabaseUrl = Field(
        SecretStr("postgresql+asyncpg://postgres@127.0.0.1:5432/memostream"),
        description="Must start with postgresql+asyncpg://. It holds a password in most places: set the variable "
        "instead.",
    )
    pool_size: PositiveInt = Field(10, description="Connections that one process keeps at most.")
    connect_timeout_s: PositiveFloat = Field(10.0, description="How long connecting may take.")
    idle_in_transaction_session_timeout_s: PositiveFloat = Field(
        30.0,
        description="Postgres ends a transaction that stands still for this long, so that a frozen worker frees its "
        "locks.",
    )
    persistent_chat_blobs: bool = Field(
        False, description="Keep the text of messages in Postgres, too; else it stays in Kafka only."
    )
    usage_retention_days: PositiveInt | None = Field(
        400, description="What extraction has spent is forgotten after so many days; never if null."
    )


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
    max_pending_windows_per_user: PositiveInt = Field(64, description="The same of one user.")
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


_CONCURRENCY: Final = "Calls that one worker has open at this endpoint at a time; no limit if null."
_REQUESTS_PER_MINUTE: Final = "Calls that one worker begins in a minute; more wait, and their records in Kafka."
_TOKENS_PER_MINUTE: Final = "Tokens that one worker sends and is answered in a minute; likewise."


class LLMSettings(Section):
    """An OpenAI-compatible chat endpoint: OpenAI, Volcengine, vLLM, Ollama, llama.cpp, ..."""

    base_url: Endpoint | None = Field(None, description="OpenAI's own if null.")
    api_key: SecretStr | None = Field(None, description="Set the variable instead, so that it stands in no file.")
    model: str = Field("gpt-4o-mini", description="Name of the model, as the endpoint knows it.")
    temperature: NonNegativeFloat = Field(0.2, description="How freely the model words its answers.")
    max_output_tokens: PositiveInt = Field(4096, description="Tokens that one answer may hold.")
    timeout_s: PositiveFloat = Field(120.0, description="How long one call may take.")
    max_retries: int = Field(
        2,
        ge=0,
        description="Further tries within one call, for connection errors, 429 and 5xx that ask for a short wait.",
    )
    default_headers: dict[str, str] = Field({}, description="Headers sent with each request.")
    default_query: dict[str, str] = Field({}, description="Query parameters sent with each request.")
    extra_body: dict[str, Any] = Field(
        {},
        description="Fields added to the body of each chat request, for what only this server knows, such as switching "
        "its reasoning off.",
        examples=[{"thinking": {"type": "disabled"}}],
    )
    summary_model: str | None = Field(
        None, description="Name of a model for organize and compact, at the same endpoint; `model` if null."
    )
    vision: bool = Field(
        False, description="Whether the model sees: images are shown to it then, and parked in dead-letters else."
    )
    concurrency: PositiveInt | None = Field(None, description=_CONCURRENCY)
    requests_per_minute: PositiveInt | None = Field(None, description=_REQUESTS_PER_MINUTE)
    tokens_per_minute: PositiveInt | None = Field(None, description=_TOKENS_PER_MINUTE)


class EmbeddingSettings(Section):
    """Embeddings of gists and events; what is null is as in `llm`."""

    enabled: bool = Field(True, description="Whether gists and events are given vectors, for search by meaning.")
    api: Literal["openai", "jina"] = Field(
        "openai",
        description="How the endpoint is spoken to: openai suits Ollama, LM Studio, vLLM and Volcengine, too; jina is "
        "Jina's own, which is told what the vectors are for.",
    )
    base_url: Endpoint | None = Field(None, description="An endpoint that speaks OpenAI's API; that of `llm` if null.")
    api_key: SecretStr | None = Field(
        None, description="Key of that endpoint; that of `llm` if null and the endpoint is the same."
    )
    model: str | None = Field(
        None,
        description="Name of the model. If null, text-embedding-3-small with provider openai, a bundled one with "
        "offline.",
    )
    dimension: PositiveInt | None = Field(
        None,
        description="Length of a vector. If null, 1536 with provider openai, 256 with offline. Part of the database's "
        "schema: fixed once it is migrated.",
    )
    timeout_s: PositiveFloat = Field(60.0, description="How long one call may take.")
    default_headers: dict[str, str] | None = Field(
        None, description="Headers sent with each request; those of `llm` if null and the endpoint is the same."
    )
    default_query: dict[str, str] | None = Field(None, description="Query parameters sent with each request; likewise.")
    concurrency: PositiveInt | None = Field(None, description=_CONCURRENCY)
    requests_per_minute: PositiveInt | None = Field(None, description=_REQUESTS_PER_MINUTE)
    tokens_per_minute: PositiveInt | None = Field(None, description=_TOKENS_PER_MINUTE)


class RelaySettings(Section):
    """The relay, which publishes what the outbox table holds."""

    shards: PositiveInt = Field(8, description="Of users; how many relays may publish side by side.")
    lease_s: PositiveFloat = Field(
        10.0, description="A relay that is killed or frozen loses its shards after this long."
    )
    poll_interval_s: PositiveFloat = Field(1.0, description="How often the outbox is looked at without being told.")
    batch_rows: PositiveInt = Field(500, description="Rows published at a time.")


class WorkerSettings(Section):
    """A worker process."""

    shutdown_timeout_s: PositiveFloat = Field(
        20.0, description="Windows that are not finished this long after Ctrl-C are handed back."
    )
    metadata_refresh_s: PositiveFloat = Field(30.0, description="How soon a new partition or broker is noticed.")
    health_port: int | None = Field(
        None, ge=1, le=65535, description="Port of GET /livez and /readyz for an orchestrator's probes; null for none."
    )
    health_host: str = Field(
        "127.0.0.1", description="Address that takes the probes; 0.0.0.0 in a container, for they come from outside."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="How a line looks; auto is console on a terminal, else json."
    )


class Settings(Section):
    """Every setting. Frozen; read once, in a composition root, and passed on by section."""

    kafka: KafkaSettings = KafkaSettings()
    storage: StorageSettings = StorageSettings()
    ingest: IngestSettings = IngestSettings()
    buffer: BufferSettings = BufferSettings()
    extraction: ExtractionSettings = ExtractionSettings()
    profile: ProfileSettings = ProfileSettings()
    llm: LLMSettings = LLMSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    prices: PriceSettings = PriceSettings()
    budget: BudgetSettings = BudgetSettings()
    relay: RelaySettings = RelaySettings()
    worker: WorkerSettings = WorkerSettings()

    @model_validator(mode="after")
    def _check_provider(self) -> "Settings":
        if self.extraction.provider == "openai" and self.llm.api_key is None and self.llm.base_url is None:
            raise ValueError(
                "llm.api_key must be set with extraction.provider: openai, which a model in Memobase's keys implies "
                "(MEMOSTREAM_LLM__API_KEY)"
            )
        return self

    @model_validator(mode="after")
    def _check_prices(self) -> "Settings":
        """A budget of money that counts nothing would hold nobody."""
        if self.extraction.provider == "offline" or not self.budget.limits_money:
            return self
        unpriced = ModelPrice()
        chat = [("llm.model", self.llm.model), ("llm.summary_model", self.llm.summary_model)]
        for setting, model in chat:
            price = self.prices.models.get(model or self.llm.model, unpriced)
            if price.prompt_per_million is None or price.completion_per_million is None:
                raise ValueError(
                    f"prices.models must have prompt_per_million and completion_per_million of {setting} with a "
                    "budget of money"
                )
        embedding = self.prices.models.get(self.embedding_model, unpriced)
        if self.embedding.enabled and embedding.embedding_per_million is None:
            raise ValueError("prices.models must have embedding_per_million of embedding.model with a budget of money")
        return self

    _without_effect: tuple[str, ...] = PrivateAttr(())

    def model_post_init(self, context: Any, /) -> None:
        self._without_effect = (context or {}).get("without_effect", ())

    @property
    def without_effect(self) -> tuple[str, ...]:
        """What was configured and changes nothing, or nothing yet: a sentence each, which quotes no value."""
        return (*self._without_effect, *self._slots_without_effect())

    def _slots_without_effect(self) -> Iterator[str]:
        replaced, added = self.profile.overwrite_user_profiles, self.profile.additional_user_profiles
        if replaced is not None and added:
            yield "profile.additional_user_profiles: no effect beside overwrite_user_profiles"
        if self.extraction.provider != "offline":
            return
        if (replaced is not None or added) and not self.profile.profile_strict_mode:
            yield "profile: no effect with extraction.provider offline, whose rules have slots of their own"
        if self.llm.vision:
            yield "llm.vision: no effect with extraction.provider offline, which asks no model"
        for key in ("profile_validate_mode", "event_tags", "event_theme_requirement"):
            if getattr(self.profile, key):
                yield f"profile.{key}: no effect with extraction.provider offline, which asks no model"

    @property
    def reads_images(self) -> bool:
        return self.llm.vision and self.extraction.provider != "offline"

    @property
    def embedding_dimension(self) -> int:
        return self.embedding.dimension or (256 if self.extraction.provider == "offline" else 1536)

    @property
    def embedding_model(self) -> str:
        """Vectors of different models cannot be compared, so a database is of one."""
        default = BUNDLED_EMBEDDING_MODEL if self.extraction.provider == "offline" else DEFAULT_EMBEDDING_MODEL
        return self.embedding.model or default


def load_settings(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Defaults < `config.yaml` < `.env` < environment (`MEMOSTREAM_<SECTION>__<KEY>`) < `overrides` (nested).

    Without `config_file`, `MEMOSTREAM_CONFIG` or else `config.yaml` in the working directory is read if it
    exists; it may be Memobase's. Memobase's variables (`MEMOBASE_<KEY>`) are stronger than the file and weaker than
    ours. An empty variable counts as unset. A field that was set anywhere is in its section's `model_fields_set`.
    Raises ConfigurationError that names the key and where it was set, and for an unknown key the nearest known one.
    """
    layers = Layers(Settings, config_file, os.environ if environ is None else environ, env_file, overrides or {})
    return Settings.model_validate(layers.read(), context={"without_effect": layers.without_effect})
