"""Images as models are given them: an address, or the picture itself, checked without being decoded by anybody else."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from schemas.errors import InvalidRecord

UNSUPPORTED_CONTENT: Final = "unsupported-content"
# What OpenAI counts for 1,024 × 1,024 pixels read by gpt-4o in full detail. How large a picture is, and who reads it,
# is not known where windows are cut.
IMAGE_TOKENS: Final = 765
MAX_URL_CHARACTERS: Final = 8192

# By their first bytes, for what a producer calls them may be wrong.
_SIGNATURES: Final = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
)
_DATA_URL: Final = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_WHITE_SPACE: Final = re.compile(r"\s+")
_NO_ADDRESS: Final = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Image:
    """As sent: not yet known to be one. Where both are given, the picture itself counts."""

    url: str | None = None
    base64: str | None = None

    def address(self) -> str:
        """An http(s) URL, passed on as it is and never fetched, or a data URL with the media type of its bytes.

        Raises InvalidRecord for what no model can be given; its detail quotes nothing.
        """
        if self.base64 is not None:
            return _data_url(self.base64)
        if self.url is None:
            raise _unsupported("blob_data: an image needs url or base64")
        return _checked_url(self.url)


def image_of(data: Mapping[str, Any]) -> Image:
    return Image(data.get("url"), data.get("base64"))


def _data_url(text: str) -> str:
    prefix = _DATA_URL.match(text)
    bare = _WHITE_SPACE.sub("", text[prefix.end() :] if prefix else text).rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    try:
        picture = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        raise _unsupported("blob_data.base64: is not base64") from None
    for media_type, signature in _SIGNATURES:
        if signature.match(picture):
            return f"data:{media_type};base64,{padded}"
    raise _unsupported("blob_data.base64: is no PNG, JPEG, GIF or WebP by its first bytes")


def _checked_url(url: str) -> str:
    if len(url) > MAX_URL_CHARACTERS:
        raise _unsupported(f"blob_data.url: must have at most {MAX_URL_CHARACTERS} characters")
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or _NO_ADDRESS.search(url):
        raise _unsupported("blob_data.url: must begin with http:// or https:// and name a host; or send base64")
    return url


def _unsupported(detail: str) -> InvalidRecord:
    return InvalidRecord(UNSUPPORTED_CONTENT, detail)
