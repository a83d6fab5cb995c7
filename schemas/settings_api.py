"""Settings of the HTTP gateway."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, SecretStr

from schemas.section import Section


def _check_token(value: SecretStr) -> SecretStr:
    # A file that holds a secret often ends with a line break.
    token = value.get_secret_value().strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError("must be text of ASCII, or no header could carry it")
    return SecretStr(token)


class ApiSettings(Section):
    """The HTTP gateway, `memostream api`."""

    host: str = Field(
        "127.0.0.1", min_length=1, description="Address that takes requests; 0.0.0.0 in a container, for all of them."
    )
    port: int = Field(8019, ge=1, le=65535, description="Port of the gateway; Memobase's server has the same.")
    root_token: Annotated[SecretStr, AfterValidator(_check_token)] | None = Field(
        None,
        description="Opens every route, as the project `default`. Set the variable instead, so that it stands in no "
        "file. Projects have tokens of their own: `memostream project create`.",
    )
    row_level_security: bool = Field(
        False,
        description="Let Postgres keep projects apart, too: requests run as the role memostream_api, which sees one "
        "project at a time. Costs a statement or two a request.",
    )
    max_body_bytes: int = Field(
        2 << 20, ge=1 << 10, le=64 << 20, description="A request with a larger body is refused with errno 413."
    )
    wait_timeout_s: PositiveFloat = Field(
        55.0,
        description="How long a call with `wait_process=true` waits for extraction. Memobase's clients give up after "
        "60 seconds.",
    )
    produce_timeout_s: PositiveFloat = Field(
        5.0,
        description="How long a call that writes to Kafka waits for the broker before it is answered with errno 503.",
    )
    embedding_timeout_s: PositiveFloat = Field(
        5.0,
        description="How long a search waits for the vector of its query. After that a search by meaning is answered "
        "with errno 503, and a hybrid one goes by keywords alone and says so.",
    )
    max_change_streams: PositiveInt = Field(256, description="Change streams that are open at a time, of all projects.")
    max_change_streams_per_project: PositiveInt = Field(64, description="Change streams of one project at a time.")
    change_keep_alive_s: PositiveFloat = Field(
        15.0,
        description="A change stream that has nothing to say sends its position this often; choose less than the "
        "proxies in between wait.",
    )
    shutdown_timeout_s: PositiveFloat = Field(
        10.0, description="Requests that are not answered this long after Ctrl-C are cut off."
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        description="Origins whose pages may call the gateway from a browser; `*` is any.",
        examples=[["https://app.example"]],
    )
