"""What aiokafka sends over a connection that the broker has just closed fails as it expects, on uvloop too.

There such a transport raises a RuntimeError until its reader has heard of the end, where asyncio's swallows what is
written. It would end whatever task of aiokafka's has sent that, for good and without a word: for instance the one that
keeps a client's metadata, and whoever waits for metadata would wait for ever.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


def expect_closed_connections() -> None:
    """For all clients of this process, Faust's too."""
    for name in ("send", "_send_sasl_token"):
        setattr(AIOKafkaConnection, name, _expecting(getattr(AIOKafkaConnection, name)))


def _expecting(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def sent(connection: AIOKafkaConnection, *arguments: Any, **options: Any) -> Any:
        try:
            return send(connection, *arguments, **options)
        except RuntimeError as error:
            # So are aiokafka's own errors, as of a request that the broker does not know.
            if connection._writer is None or not connection._writer.transport.is_closing():  # noqa: SLF001
                raise
            connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} closed") from error

    return sent
