"""Addresses in settings: what no client could use is refused at once, for libraries fail late and obscurely."""

import re
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, SecretStr

MAX_PORT: Final = 65535
_HOST: Final = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,}")
_SERVER: Final = re.compile(r"(\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^\[\]:]+))(:(?P<port>\d{1,5}))?")

_DATABASE_SCHEME: Final = "postgresql+asyncpg://"
_DATABASE_PLACE: Final = re.compile(r"(\[[^\]]*\]|(?P<host>[^:/?]*))(:(?P<port>\d{1,5}))?(/[^?]*)?(\?(?P<options>.*))?")
# Of asyncpg and of SQLAlchemy's dialect for it; others would fail as unexpected arguments of a function.
_DATABASE_OPTIONS: Final = frozenset(
    {
        *("host", "port", "user", "password", "passfile", "database", "ssl", "direct_tls", "target_session_attrs"),
        *(
            "timeout",
            "command_timeout",
            "statement_cache_size",
            "prepared_statement_cache_size",
            "krbsrvname",
            "gsslib",
        ),
    }
)


def _check_servers(value: str) -> str:
    for server in value.split(","):
        found = _SERVER.fullmatch(server.strip())
        host = found and (found["bracketed"] or found["host"])
        if not found or not host or not _HOST.fullmatch(host) or int(found["port"] or 0) > MAX_PORT:
            raise ValueError("must be host:port, or several of them with commas between")
    return value


def _check_endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_one = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError("must be a URL like https://host/v1")
    return value


def _check_database(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not url.startswith(_DATABASE_SCHEME):
        raise ValueError(f"must start with {_DATABASE_SCHEME}")
    # A password may hold anything, also what ends a host elsewhere.
    found = _DATABASE_PLACE.fullmatch(url.removeprefix(_DATABASE_SCHEME).rpartition("@")[2])
    if not found or (found["host"] and not _HOST.fullmatch(found["host"])) or int(found["port"] or 0) > MAX_PORT:
        raise ValueError(f"must be like {_DATABASE_SCHEME}user:password@host:5432/name")
    for name, _ in parse_qsl(found["options"] or ""):
        if name == "sslmode":
            raise ValueError("has the option sslmode, which is libpq's; write ssl=require in place of sslmode=require")
        if name not in _DATABASE_OPTIONS:
            raise ValueError("has an option that asyncpg does not take; take it out")
    return value


DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database)]
Servers = Annotated[str, AfterValidator(_check_servers)]
Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
