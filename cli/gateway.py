"""The gateway on this machine: run as a command, and the root token that `memostream up` makes for itself."""

import asyncio
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from api.app import serve
from api.serving import open_socket
from cli.addresses import overridden
from schemas.errors import ConfigurationError
from schemas.settings import ApiSettings, Settings
from streams.logs import configure_logging

TOKEN_FILE: Final = "root-token"
URL_FILE: Final = "gateway-url"
TOKEN_BYTES: Final = 24


async def run_gateway(settings: Settings, stop: asyncio.Event, *, insecure: bool) -> int:
    """A gateway with its log; returns its exit code."""
    configure_logging(settings.worker)
    return await serve(settings, stop, insecure=insecure)


def with_root_token(settings: Settings, data_dir: Path) -> Settings:
    """The settings with the root token of this data folder, which is made with the first start.

    One that is configured holds. Raises ConfigurationError where the folder cannot be read or written.
    """
    if settings.api.root_token is not None:
        return settings
    path = data_dir / TOKEN_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        token = _read(path) or _make(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read or written ({error.strerror})") from error
    return overridden(settings, {"api": {"root_token": SecretStr(token)}})


def open_place(api: ApiSettings) -> socket.socket:
    """A socket at the configured place, or at any free port where the default one is taken and none is configured."""
    try:
        return open_socket(api)
    except ConfigurationError:
        if "port" in api.model_fields_set:
            raise
        return open_socket(api.model_copy(update={"port": 0}))


def at_place(settings: Settings, place: socket.socket) -> Settings:
    """The settings with the port that was had."""
    port: int = place.getsockname()[1]
    return overridden(settings, {"api": {"port": port}})


def url_of(api: ApiSettings) -> str:
    """Where the gateway is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)
    return f"http://[{host}]:{api.port}" if ":" in host else f"http://{host}:{api.port}"


@contextmanager
def published_url(api: ApiSettings, data_dir: Path) -> Iterator[None]:
    """Let other shells find the gateway while the block runs."""
    path = data_dir / URL_FILE
    try:
        path.write_text(url_of(api) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _make(path: Path) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    # Nobody else may read it, from the first moment on; and it is all there once it has its name.
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    beside.replace(path)
    return token
