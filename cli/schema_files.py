"""The published schemas as files: written to a folder, or compared with one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from api.application import described_app
from schemas.erasure import REPORT_ID, REPORT_NAME, report_schema
from schemas.errors import ConfigurationError, NotFound
from schemas.published import published_schemas
from schemas.settings import Settings
from streams.asyncapi import DOCUMENT_ID, FILE_NAME, asyncapi_text

OPENAPI_FILE: Final = "openapi.json"
OPENAPI_ID: Final = "/openapi.json"
OWN_ID: Final = b'"urn:memostream:schema:'


def schema_files(settings: Settings) -> Mapping[str, str]:
    """Texts by file name: the JSON Schemas and the OpenAPI document, which no setting changes, and the AsyncAPI one."""
    files = {schema.file_name: schema.text() for schema in published_schemas()}
    report = {f"{REPORT_NAME}.json": json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"}
    return {FILE_NAME: asyncapi_text(settings.kafka, settings.buffer), **files, **report, OPENAPI_FILE: openapi_text()}


def listed() -> Sequence[Mapping[str, str]]:
    """Name, stable id and purpose of each."""
    json_schemas = [
        {"name": schema.name, "id": schema.document["$id"], "description": schema.document["description"]}
        for schema in published_schemas()
    ]
    whole = {"name": "asyncapi", "id": DOCUMENT_ID, "description": "All topics, records and operations: AsyncAPI 3."}
    report = {"name": REPORT_NAME, "id": REPORT_ID, "description": "What `memostream forget` reports."}
    over_http = {"name": "openapi", "id": OPENAPI_ID, "description": "All routes of the HTTP gateway: OpenAPI 3.1."}
    return [whole, *json_schemas, report, over_http]


def openapi_text() -> str:
    """The document that a gateway serves as /openapi.json, laid out for reading."""
    return json.dumps(described_app().openapi(), indent=2, ensure_ascii=False) + "\n"


def find_file(files: Mapping[str, str], name: str) -> str:
    """The text of `profile-updated`, `profile-updated.json` or `asyncapi`; raises NotFound that lists the names."""
    for candidate in (name, f"{name}.json", f"{name}.yaml"):
        if candidate in files:
            return files[candidate]
    known = ", ".join(file.removesuffix(".json").removesuffix(".yaml") for file in files)
    raise NotFound(f"there is no schema {name}; there are {known}")


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Write all, making the folder; raises ConfigurationError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error


def differing_files(files: Mapping[str, str], folder: Path) -> Sequence[str]:
    """Names of files that are missing, hold something else, or are schemas of ours that nothing makes any more."""
    found = {path.name: path.read_bytes() for path in folder.glob("*") if path.suffix in (".json", ".yaml")}
    wanted = {name: text.encode() for name, text in files.items()}
    left_over = {name for name, content in found.items() if OWN_ID in content}
    return [name for name in sorted(wanted.keys() | left_over) if wanted.get(name) != found.get(name)]
