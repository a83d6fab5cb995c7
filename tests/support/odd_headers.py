"""Batches whose headers have names that are no UTF-8, which no client of Python's writes by itself."""

from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordBase, _DefaultRecordBatchBuilderPy

from schemas.settings import KafkaSettings
from streams.clients import producer

CODECS: Final = {
    "none": DefaultRecordBase.CODEC_NONE,
    "gzip": DefaultRecordBase.CODEC_GZIP,
    "snappy": DefaultRecordBase.CODEC_SNAPPY,
    "lz4": DefaultRecordBase.CODEC_LZ4,
    "zstd": DefaultRecordBase.CODEC_ZSTD,
}
BATCH_BYTES: Final = 1 << 20


class NoText(str):
    """A header's name that is written as other bytes than text has."""

    raw: bytes

    def __new__(cls, raw: bytes) -> "NoText":
        name = super().__new__(cls, "name")
        name.raw = raw
        return name

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


def new_builder(codec: str, *, is_transactional: bool, producer_id: int) -> Any:
    """A batch to append to; the builder in C takes no names but text."""
    return _DefaultRecordBatchBuilderPy(2, CODECS[codec], is_transactional, producer_id, 3, 11, BATCH_BYTES)


async def send_batch(
    kafka: KafkaSettings,
    topic: str,
    partition: int,
    records: list[tuple[bytes, bytes, list[tuple[str, bytes]]]],
    codec: str,
) -> None:
    """Send keys, values and headers as one batch."""
    # An idempotent producer takes builders of its own kind only.
    async with producer(kafka, enable_idempotence=False) as client:
        batch = client.create_batch()
        batch._builder = new_builder(codec, is_transactional=False, producer_id=-1)
        for key, value, headers in records:
            assert batch.append(timestamp=None, key=key, value=value, headers=headers) is not None
        batch.close()
        await (await client.send_batch(batch, topic, partition=partition))
