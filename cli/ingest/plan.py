"""From the options of `memostream ingest` to how its files are read."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from cli.ingest.files import InputFile
from cli.ingest.records import Reading
from cli.ingest.shapes import Shapes
from cli.ingest.sources import Given, RecognisedSources, for_files, read_mapping
from cli.ingest_check import chosen_sources
from schemas.errors import ConfigurationError
from schemas.mapping_fields import CompiledSource
from schemas.settings import Settings


def reading_of(
    settings: Settings,
    files: Sequence[InputFile],
    given: Given,
    *,
    mapping_file: Path | None,
    topic: str | None,
    sort: bool | None,
) -> Reading:
    """Raises ConfigurationError for options that do not go together, and for a mapping that cannot be read."""
    given.check()
    mapping = _mapping(settings, given, mapping_file, topic)
    in_order = any(file.format == "json" for file in files) if sort is None else sort
    shapes = Shapes(mapping, RecognisedSources(given), settings.buffer.max_blob_bytes)
    return Reading(files, shapes, given, in_order)


def _mapping(settings: Settings, given: Given, file: Path | None, topic: str | None) -> CompiledSource | None:
    if file is None and topic is None:
        return None
    option = "--mapping" if topic is None else "--topic"
    if file is not None and topic is not None:
        raise ConfigurationError("--mapping and --topic both name a mapping; leave one out")
    named = [name.name for name in fields(given.names) if getattr(given.names, name.name) is not None]
    unused = [f"--{name}-field" for name in named]
    unused += ["--role"] * (given.role is not None) + ["--time-format"] * (given.time_format is not None)
    if unused:
        raise ConfigurationError(f"{option} says where things are; put there what {unused[0]} is to say")
    return read_mapping(file, given) if file is not None else for_files(chosen_sources(settings, topic)[0], given)
