"""Headers whose names are no UTF-8, made readable before aiokafka decodes them, for it refuses such records."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from struct import Struct
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint, encode_varint

# Base offset and length, which the length does not count.
_LENGTH_AT: Final = Struct(">qi")
_HEADER: Final = DefaultRecordBase.HEADER_STRUCT
_LENGTH, _CRC, _ATTRIBUTES, _COUNT = 1, 4, 5, 12
_DECODERS: Final[Mapping[int, Callable[[bytes], bytes]]] = {
    DefaultRecordBase.CODEC_GZIP: gzip_decode,
    DefaultRecordBase.CODEC_SNAPPY: snappy_decode,
    DefaultRecordBase.CODEC_LZ4: lz4_decode,
    DefaultRecordBase.CODEC_ZSTD: zstd_decode,
}

log = structlog.get_logger()


def read_any_header_names(consumer: AIOKafkaConsumer) -> AIOKafkaConsumer:
    """Let a consumer that is not started read every record: bytes of a header's name that are no UTF-8 become `\\xff`.

    aiokafka would stop at the first such record, at every start again, and what it had decoded before would be lost.
    """
    client: Any = consumer._client  # noqa: SLF001
    send: Callable[..., Awaitable[Any]] = client.send

    async def send_and_make_readable(node_id: int, request: Any, **options: Any) -> Any:
        response = await send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            response.topics = [
                (topic, [(*partition[:-1], readable(partition[-1])) for partition in partitions])
                for topic, partitions in response.topics
            ]
        return response

    client.send = send_and_make_readable
    return consumer


def readable(fetched: bytes) -> bytes:
    """The batches of a fetch as they are, but for those with a header's name that is no UTF-8."""
    if not fetched or _can_be_decoded(fetched):
        return fetched
    return b"".join(batch if _can_be_decoded(batch) else _with_readable_names(batch) for batch in _batches(fetched))


def _can_be_decoded(fetched: bytes) -> bool:
    """False for names that are no UTF-8. What else may be wrong is for aiokafka to find, and to say."""
    records = MemoryRecords(fetched)
    try:
        while records.has_next():
            batch: Any = records.next_batch()
            if batch.is_control_batch:
                continue
            if not batch.validate_crc():
                return True
            for _ in batch:
                pass
    except UnicodeDecodeError:
        return False
    # Its reader in Python says no more than this of such a name.
    except CorruptRecordException as error:
        return not isinstance(error.__cause__, UnicodeDecodeError)
    return True


def _batches(fetched: bytes) -> Iterator[bytes]:
    """Each batch, and last what was cut off by the end of the fetch."""
    begin = 0
    while begin + _HEADER.size <= len(fetched):
        _, length = _LENGTH_AT.unpack_from(fetched, begin)
        end = begin + _LENGTH_AT.size + length
        if end > len(fetched):
            break
        yield fetched[begin:end]
        begin = end
    yield fetched[begin:]


def _with_readable_names(batch: bytes) -> bytes:
    """The batch, not compressed, with a checksum of its own; offsets, times and all else are what they were."""
    fields = list(_HEADER.unpack_from(batch))
    body = batch[_HEADER.size :]
    codec = fields[_ATTRIBUTES] & DefaultRecordBase.CODEC_MASK
    source = bytearray(_DECODERS[codec](body) if codec else body)
    target = bytearray()
    at = renamed = 0
    for _ in range(fields[_COUNT]):
        length, at = decode_varint(source, at)
        record, names = _record_with_readable_names(source[at : at + length])
        encode_varint(len(record), target.append)
        target += record
        renamed += names
        at += length
    log.warning("consumer.header_names_replaced", first_offset=fields[0], records=fields[_COUNT], renamed=renamed)
    fields[_LENGTH] = _HEADER.size + len(target) - _LENGTH_AT.size
    fields[_ATTRIBUTES] &= ~DefaultRecordBase.CODEC_MASK
    unsigned = _HEADER.pack(*fields) + target
    fields[_CRC] = calc_crc32c(unsigned[DefaultRecordBase.ATTRIBUTES_OFFSET :])
    signed: bytes = _HEADER.pack(*fields) + target
    return signed


def _record_with_readable_names(source: bytearray) -> tuple[bytearray, int]:
    """A record behind its length, and how many of its headers have another name than before."""
    # Attributes, a byte, read as aiokafka does; time, offset.
    at = 0
    for _ in range(3):
        _, at = decode_varint(source, at)
    # Key, value.
    for _ in range(2):
        _, at = _bytes_at(source, at)
    target = source[:at]
    headers, at = decode_varint(source, at)
    encode_varint(headers, target.append)
    renamed = 0
    for _ in range(headers):
        raw, at = _bytes_at(source, at)
        name = raw.decode("utf-8", "backslashreplace").encode()
        renamed += name != raw
        encode_varint(len(name), target.append)
        target += name
        begin = at
        _, at = _bytes_at(source, at)
        target += source[begin:at]
    return target, renamed


def _bytes_at(source: bytearray, at: int) -> tuple[bytes, int]:
    """Bytes behind their length, which is -1 for none, and where the next field begins."""
    length, at = decode_varint(source, at)
    end = at + max(length, 0)
    return bytes(source[at:end]), end
