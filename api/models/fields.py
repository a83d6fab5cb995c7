"""Types of what stands in bodies."""

from typing import Annotated, Any

from pydantic import AfterValidator

from api.inputs import without_nul
from schemas.records import Fields


def _without_nul(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    while level:
        nodes, level = level, []
        for node in nodes:
            if isinstance(node, str):
                without_nul(node)
            elif isinstance(node, dict):
                level += [*node.keys(), *node.values()]
            elif isinstance(node, list):
                level += node
    return value


# Text of any length.
Words = Annotated[str, AfterValidator(without_nul)]
# Whose depth `Fields` bounds, and without NUL, which Postgres keeps in no JSON.
JsonObject = Annotated[Fields, AfterValidator(_without_nul)]
