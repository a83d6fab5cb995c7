"""Every setting, in frozen sections; `load_settings` reads them from the places that people set them in."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)

from schemas.errors import ConfigurationError
from schemas.mapping import IngestSettings
from schemas.settings_sources import Layers

BUNDLED_EMBEDDING_MODEL: Final = "wordllama-l2-supercat-256"
DEFAULT_EMBEDDING_MODEL: Final = "text-embedding-3-small"


def _check_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith("postgresql+asyncpg://"):
        raise ValueError("must start with postgresql+asyncpg://")
    return value


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KafkaSettings(Section):
    """The broker, the topics' names and shapes, and how clients reach them."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = Field(None, description="PEM; the system's authorities if unset")
    ssl_cert_file: Path | None = Field(None, description="PEM, for mutual TLS")
    ssl_key_file: Path | None = None
    ssl_key_password: SecretStr | None = None
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    partitions: PositiveInt = Field(8, description="of chat-messages, extraction-windows and the changelog alike")
    replication_factor: PositiveInt = Field(1, description="of topics that we create; 3 in production")
    chat_retention_ms: int = Field(-1, description="of chat-messages; -1 keeps it for ever, as replay wants")
    windows_retention_ms: int = 30 * 24 * 3600 * 1000
    changes_retention_ms: int = 30 * 24 * 3600 * 1000
    dead_letters_retention_ms: int = -1
    session_timeout_s: PositiveFloat = Field(8.0, description="a killed worker's partitions stall for this long")
    heartbeat_interval_s: PositiveFloat = 2.0
    transaction_timeout_s: PositiveFloat = 20.0
    request_timeout_s: PositiveFloat = 40.0

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
    """Postgres."""

    database_url: Annotated[SecretStr, AfterValidator(_check_url)] = SecretStr(
        "postgresql+asyncpg://postgres@127.0.0.1:5432/memostream"
    )
    pool_size: PositiveInt = 10
    connect_timeout_s: PositiveFloat = 10.0
    idle_in_transaction_session_timeout_s: PositiveFloat = 30.0
    persistent_chat_blobs: bool = Field(False, description="keep message text in Postgres, too")


class BufferSettings(Section):
    """When a window closes. The long names are Memobase's."""

    store: Literal["memory", "rocksdb"] = "memory"
    data_dir: Path = Field(Path("memostream-data"), description="of the RocksDB copies; rebuilt when lost")
    # Below 128 KiB our producers' batches of 256 KiB would not fit topics that take twice this.
    max_blob_bytes: int = Field(1 << 20, ge=1 << 17, le=3 << 20, description="a larger record is parked")
    max_chat_blob_buffer_token_size: PositiveInt = Field(1024, description="a window closes at this many tokens")
    max_chat_blob_buffer_process_token_size: PositiveInt = Field(16384, description="and never holds more")
    max_window_blobs: PositiveInt = 1000
    max_window_bytes: PositiveInt = 1 << 20
    max_window_age_s: PositiveFloat = 24 * 3600.0
    buffer_flush_interval_s: PositiveFloat = Field(3600.0, description="a user who is idle for so long is flushed")
    tokenizer: Literal["auto", "tiktoken", "estimate"] = "auto"
    transaction_max_records: PositiveInt = 500
    transaction_linger_s: NonNegativeFloat = Field(0.005, description="how long a quiet partition gathers a batch")

    @model_validator(mode="after")
    def _check_sizes(self) -> "BufferSettings":
        if self.max_chat_blob_buffer_process_token_size < self.max_chat_blob_buffer_token_size:
            raise ValueError(
                "max_chat_blob_buffer_process_token_size must not be below max_chat_blob_buffer_token_size"
            )
        return self


class ExtractionSettings(Section):
    """Who extracts, in which language, and how many windows side by side."""

    provider: Literal["offline", "openai"] = Field("offline", description="offline is rule-based, for a first look")
    language: Literal["auto", "en", "zh"] = Field("auto", description="of prompts; facts keep the user's language")
    system_prompt: str | None = Field(None, description="replaces the role text of the extract prompt")
    concurrency: PositiveInt = Field(16, description="users extracted side by side in one worker")
    max_pending_windows: PositiveInt = Field(512, description="read and not yet finished, in one worker")
    max_pending_windows_per_user: PositiveInt = 64
    hold_after_s: PositiveFloat = Field(60.0, description="a waiting user's windows move to held_windows after this")
    retry_min_s: PositiveFloat = 0.5
    retry_max_s: PositiveFloat = 60.0
    failing_users_limit: PositiveInt = Field(5, description="users failing validation in a row that blame the endpoint")


class LLMSettings(Section):
    """An OpenAI-compatible chat endpoint."""

    base_url: str | None = Field(None, description="OpenAI's own if unset")
    api_key: SecretStr | None = None
    model: str = "gpt-4o-mini"
    temperature: NonNegativeFloat = 0.2
    max_output_tokens: PositiveInt = 4096
    timeout_s: PositiveFloat = 120.0
    max_retries: int = Field(2, ge=0)
    default_headers: dict[str, str] = {}
    default_query: dict[str, str] = {}


class EmbeddingSettings(Section):
    """Embeddings of gists and events; unset endpoint values are those of `llm`."""

    enabled: bool = True
    base_url: str | None = None
    api_key: SecretStr | None = None
    model: str | None = Field(None, description="text-embedding-3-small with openai, a bundled one with offline")
    dimension: PositiveInt | None = Field(None, description="1536 with openai, 256 with offline")
    timeout_s: PositiveFloat = 60.0


class RelaySettings(Section):
    """The outbox relay."""

    shards: PositiveInt = Field(8, description="of users; how many relays may publish side by side")
    lease_s: PositiveFloat = 10.0
    poll_interval_s: PositiveFloat = 1.0
    batch_rows: PositiveInt = 500


class WorkerSettings(Section):
    """A worker process."""

    shutdown_timeout_s: PositiveFloat = Field(20.0, description="windows not finished by then are handed back")
    metadata_refresh_s: PositiveFloat = 30.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json")


class Settings(Section):
    """Every setting. Frozen; read once, in a composition root, and passed on by section."""

    kafka: KafkaSettings = KafkaSettings()
    storage: StorageSettings = StorageSettings()
    ingest: IngestSettings = IngestSettings()
    buffer: BufferSettings = BufferSettings()
    extraction: ExtractionSettings = ExtractionSettings()
    llm: LLMSettings = LLMSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    relay: RelaySettings = RelaySettings()
    worker: WorkerSettings = WorkerSettings()

    @model_validator(mode="after")
    def _check_provider(self) -> "Settings":
        if self.extraction.provider == "openai" and self.llm.api_key is None and self.llm.base_url is None:
            raise ValueError("llm.api_key must be set with extraction.provider: openai (MEMOSTREAM_LLM__API_KEY)")
        return self

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
    exists. An empty variable counts as unset. A field that was set anywhere is in its section's
    `model_fields_set`. Raises ConfigurationError that names the key and where it was set, and for an unknown
    key the nearest known one.
    """
    layers = Layers(Settings, config_file, os.environ if environ is None else environ, env_file, overrides or {})
    return Settings.model_validate(layers.read())
