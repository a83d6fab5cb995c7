"""Addresses in settings: what no client could use is refused at once, for libraries fail late and obscurely."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

MAX_PORT: Final = 65535
_HOST: Final = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,}")
_SERVER: Final = re.compile(r"(\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^\[\]:]+))(:(?P<port>\d{1,5}))?")


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


Servers = Annotated[str, AfterValidator(_check_servers)]
Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
