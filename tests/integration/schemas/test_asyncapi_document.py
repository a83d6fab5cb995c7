"""The committed AsyncAPI document before AsyncAPI's own parser, which npm installs from a committed lock.

The parser does not compare the examples of version 3 with their schemas: tests/unit/streams/test_asyncapi.py does.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from schemas.settings import BufferSettings, KafkaSettings
from streams.asyncapi import asyncapi
from tests.support.node import NODE, node_packages

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tests" / "support" / "asyncapi"
COMMITTED = ROOT / "docs" / "schemas" / "asyncapi.yaml"
# As the parser numbers them: error and warning. Behind them come hints, one of which asks for the latest version.
SERIOUS = (0, 1)

Document = dict[str, Any]

# The first test of a new lock waits for npm.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def packages() -> Path:
    return node_packages(TOOL) / "node_modules"


def faults(packages: Path, text: str) -> list[str]:
    """What the parser says, hints left out."""
    done = subprocess.run(
        [NODE, str(TOOL / "validate.cjs")],
        input=text,
        env={**os.environ, "NODE_PATH": str(packages)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return [f"{'.'.join(map(str, item['path']))}: {item['message']}" for item in found if item["severity"] in SERIOUS]


def test_the_committed_document_is_valid(packages: Path) -> None:
    assert faults(packages, COMMITTED.read_text()) == []


def test_a_document_with_a_prefix_three_replicas_and_credentials_is_valid(packages: Path) -> None:
    kafka = KafkaSettings.model_validate(
        {
            "bootstrap_servers": "a.example:9093,b.example:9093",
            "security_protocol": "SASL_SSL",
            "sasl_username": "robot",
            "sasl_password": "secret",
            "topic_prefix": "shop-",
            "replication_factor": 3,
        }
    )
    assert faults(packages, json.dumps(asyncapi(kafka, BufferSettings()))) == []


def spoil_a_schema(document: Document) -> None:
    document["components"]["schemas"]["ProfileEntry"]["properties"]["content"]["type"] = "text"


def spoil_a_reference(document: Document) -> None:
    document["components"]["messages"]["Window"]["payload"]["$ref"] = "#/components/schemas/Nowhere"


def spoil_a_binding(document: Document) -> None:
    document["channels"]["profiles"]["bindings"]["kafka"]["partitions"] = 0


def spoil_an_operation(document: Document) -> None:
    document["operations"]["receiveProfiles"]["messages"] = [{"$ref": "#/channels/deadLetters/messages/DeadLetter"}]


@pytest.mark.parametrize(
    "spoil",
    [spoil_a_schema, spoil_a_reference, spoil_a_binding, spoil_an_operation],
)
def test_the_parser_finds_a_planted_fault(packages: Path, spoil: Callable[[Document], None]) -> None:
    document = yaml.safe_load(COMMITTED.read_text())
    spoil(document)
    assert faults(packages, json.dumps(document))
