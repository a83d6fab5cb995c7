"""Settings of the broker, the topics and Kafka's clients."""

import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from schemas.addresses import Servers
from schemas.errors import ConfigurationError
from schemas.section import Section


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
    compaction_lag_ms: PositiveInt = Field(
        24 * 3600 * 1000,
        description="How long profiles and the changelog may keep what a newer record has replaced or removed.",
    )
    session_timeout_s: PositiveFloat = Field(
        8.0, description="The partitions of a worker that was killed stand still for this long."
    )
    heartbeat_interval_s: PositiveFloat = Field(
        1.0,
        description="How often a worker tells the broker that it is alive; a third of the session timeout or less. The "
        "answer tells it that another has come or gone, and all partitions stand still until every worker knows.",
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
