"""A dry run of ingest.sources: a sample of records, mapped and neither sent nor committed."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.scanning import TopicScanner, topic_scanner
from schemas.errors import ConfigurationError, InvalidRecord
from schemas.mapping import IngestSource
from schemas.mapping_blobs import MappedRecord, Refusal
from schemas.mapping_fields import CompiledSource, compile_source
from schemas.settings import Settings
from streams.ingest_records import map_record
from streams.ingest_sources import check_sources, source_partitions
from streams.raw_records import RawRecord, origin_of

# Offsets that transactions and compaction have left empty are looked past in steps that grow by this.
WIDENING = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """How many records of a topic, from which end of it, and of which partition; None is all."""

    records: int
    from_beginning: bool = False
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    record: RawRecord
    mapped: MappedRecord


@dataclass(frozen=True, slots=True)
class CheckedSource:
    """The sample of one source, in the order of time."""

    source: IngestSource
    records: Sequence[CheckedRecord]


def chosen_sources(settings: Settings, topic: str | None) -> Sequence[IngestSource]:
    """The sources of this topic, of all if None; raises ConfigurationError if there are none."""
    sources = settings.ingest.sources
    if not sources:
        raise ConfigurationError("ingest.sources is empty; name a topic and its mapping there, or point to it with -c")
    found = [source for source in sources if topic in (None, source.topic)]
    if not found:
        names = ", ".join(source.topic for source in sources)
        raise ConfigurationError(f"ingest.sources has no topic {topic}; it has {names}")
    check_sources(settings)
    return found


async def check_topics(settings: Settings, sources: Sequence[IngestSource], sample: Sample) -> list[CheckedSource]:
    """Read a sample of every source, in no consumer group, and map it."""
    counts = await source_partitions(settings.kafka, sources)
    for topic, count in counts.items():
        if sample.partition is not None and sample.partition >= count:
            raise ConfigurationError(f"{topic} has no partition {sample.partition}; they are 0 to {count - 1}")
    async with topic_scanner(settings.kafka) as scanner:
        return [_checked(settings, source, await _sampled(scanner, source.topic, sample)) for source in sources]


def check_file(settings: Settings, sources: Sequence[IngestSource], file: Path, limit: int) -> list[CheckedSource]:
    """Map the values in a file, one a line, as records without key and headers; line numbers stand for offsets."""
    if len(sources) > 1:
        raise ConfigurationError("say with --topic which source reads the file")
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    topic, now_ms = sources[0].topic, int(time.time() * 1000)
    records = [RawRecord(topic, 0, number, now_ms, None, line) for number, line in enumerate(lines, 1) if line.strip()]
    return [_checked(settings, sources[0], records[:limit])]


def _checked(settings: Settings, source: IngestSource, records: Iterable[RawRecord]) -> CheckedSource:
    mapping = compile_source(source)
    return CheckedSource(
        source,
        [CheckedRecord(record, _mapped(record, mapping, settings.buffer.max_blob_bytes)) for record in records],
    )


def _mapped(record: RawRecord, mapping: CompiledSource, max_blob_bytes: int) -> MappedRecord:
    if record.value is None:
        ignored = MappedRecord()
        ignored.ignored["null"] += 1
        return ignored
    try:
        origin = origin_of(record) or record.position
        return map_record(record, record.value, origin, mapping, max_blob_bytes)
    except InvalidRecord as error:
        return MappedRecord(refusals=[Refusal("value", None, error.detail, error.reason)])


async def _sampled(scanner: TopicScanner, topic: str, sample: Sample) -> list[RawRecord]:
    first, end = await scanner.bounds(topic)
    span = sample.records
    while True:
        begin, stop = _range(first, end, span, sample)
        records = [RawRecord.of(record) async for batch in scanner.scan(topic, begin, stop) for record in batch]
        if len(records) >= sample.records or all(begin[p] == first[p] and stop[p] == end[p] for p in begin):
            break
        span *= WIDENING
    records.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return records[: sample.records] if sample.from_beginning else records[-sample.records :]


def _range(
    first: Mapping[int, int], end: Mapping[int, int], span: int, sample: Sample
) -> tuple[dict[int, int], dict[int, int]]:
    partitions = first if sample.partition is None else [sample.partition]
    if sample.from_beginning:
        return {p: first[p] for p in partitions}, {p: min(end[p], first[p] + span) for p in partitions}
    return {p: max(first[p], end[p] - span) for p in partitions}, {p: end[p] for p in partitions}
