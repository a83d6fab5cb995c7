"""Names of the Kafka headers that memostream sets; values are UTF-8 text."""

from typing import Final

Headers = tuple[tuple[str, bytes | None], ...]

ORIGIN_TOPIC: Final = "__memostream.origin.topic"
ORIGIN_PARTITION: Final = "__memostream.origin.partition"
ORIGIN_OFFSET: Final = "__memostream.origin.offset"
ORIGIN_TIMESTAMP: Final = "__memostream.origin.timestamp"
BLOB_ID: Final = "__memostream.id"

ERROR_TOPIC: Final = "__memostream.errors.topic"
ERROR_PARTITION: Final = "__memostream.errors.partition"
ERROR_OFFSET: Final = "__memostream.errors.offset"
ERROR_TIMESTAMP: Final = "__memostream.errors.timestamp"
ERROR_GROUP: Final = "__memostream.errors.group"
ERROR_STAGE: Final = "__memostream.errors.stage"
ERROR_REASON: Final = "__memostream.errors.reason"
ERROR_MESSAGE: Final = "__memostream.errors.message"
ERROR_EXCEPTION: Final = "__memostream.errors.exception"
ERROR_ATTEMPTS: Final = "__memostream.errors.attempts"
ERROR_EXPRESSION: Final = "__memostream.errors.expression"
ERROR_PIECES: Final = "__memostream.errors.pieces"
