"""A configuration of Memobase's turned into settings of ours; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from schemas.errors import ConfigurationError
from schemas.memobase_keys import ACCESS_TOKEN, MEMOBASE_KEYS, MEMOBASE_PREFIX, MEMOBASE_VARIABLES, MemobaseKey, Text
from schemas.settings_errors import nearest, problems_of, spoken

OPENAI_ADDRESS: Final = "https://api.openai.com/v1"
JINA_ADDRESS: Final = "https://api.jina.ai/v1"
PROCESS_TOKENS: Final = 16384

# Memobase does not start without a model, so who names one wants one.
_NAMES_OF_A_MODEL: Final = ("llm_api_key", "llm_base_url", "best_llm_model")

Path = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it was set, for a person; `in_file` where that is the configuration file."""

    value: object
    place: str
    in_file: bool


@dataclass(frozen=True, slots=True)
class Translation:
    """Settings by section and key. `implied` are weaker than anything that is said; `without_effect` are sentences."""

    settings: Mapping[Path, Given]
    implied: Mapping[Path, Given]
    without_effect: tuple[str, ...]

    def for_offline(self) -> "Translation":
        """Without what names a model for embeddings: the rules bring their own and refuse another."""
        left_out = {path: given for path, given in self.settings.items() if _names_embeddings(path)}
        notes = (f"{given.place}: no effect with extraction.provider offline" for given in left_out.values())
        return Translation(
            {path: given for path, given in self.settings.items() if path not in left_out},
            {path: given for path, given in self.implied.items() if not _names_embeddings(path)},
            (*self.without_effect, *notes),
        )


def given_variables(variables: Mapping[str, str], label: str) -> Iterator[tuple[str, Given]]:
    """The variables `MEMOBASE_<KEY>` that are set, by key, also those that nobody knows."""
    for name, text in variables.items():
        if name.startswith(MEMOBASE_PREFIX) and text:
            key = name.removeprefix(MEMOBASE_PREFIX).lower()
            yield key, Given(_from_variable(MEMOBASE_KEYS.get(key), text), f"{label} {name}", in_file=False)


def translate(given: Mapping[str, Given], variables: Mapping[str, str]) -> Translation:
    """Settings of ours for keys of Memobase's, and what stays without effect.

    `given` may hold keys that nobody knows; they are named as such. `variables` are all that are set, for those beside
    the configuration. Raises ConfigurationError that names each wrong value's key and place.
    """
    known = _validated(given)
    settings = {key.becomes: value for key, value in known.items() if key.becomes is not None}
    values = {key.name: value for key, value in known.items()}
    implied = _implied(values)
    notes = [_note(key, value) for key, value in known.items() if key.effect != "now" and value.value != key.moot]
    notes += _place_embeddings(settings, implied, values)
    notes += _unknown(given)
    if known:
        read, becomes = ACCESS_TOKEN
        if variables.get(read):
            implied[becomes] = Given(variables[read], f"variable {read}", in_file=False)
        found = {name: note for name, note in MEMOBASE_VARIABLES.items() if variables.get(name) and name != read}
        notes += [f"{name}: {note}" for name, note in found.items()]
    return Translation(settings, implied, tuple(notes))


def _names_embeddings(path: Path) -> bool:
    return path[0] == "embedding" and path[1] != "enabled"


def _from_variable(key: MemobaseKey | None, text: str) -> object:
    # JSON first, then the text as it stands; but a text that looks like a number, as some keys do, stays a text.
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    wants_text = key is None or key.takes is Text
    return value if value is None or isinstance(value, str) or not wants_text else text


def _validated(given: Mapping[str, Given]) -> dict[MemobaseKey, Given]:
    """In the table's order, without what is null."""
    validated: dict[MemobaseKey, Given] = {}
    problems = []
    for key in MEMOBASE_KEYS.values():
        found = given.get(key.name)
        if found is None or found.value is None:
            continue
        adapter: TypeAdapter[Any] = _adapter(key)
        try:
            value = adapter.validate_python(found.value)
        except ValidationError as error:
            problems += [f"{spoken((key.name, *path))}: {text} ({found.place})" for path, _, text in problems_of(error)]
            continue
        # Settings are read from plain values, as a file holds them.
        plain = value if key.becomes is None else adapter.dump_python(value, mode="json", exclude_none=True)
        validated[key] = Given(plain, found.place, found.in_file)
    if problems:
        raise ConfigurationError("configuration: " + "; ".join(problems))
    return validated


def _adapter(key: MemobaseKey) -> TypeAdapter[Any]:
    return TypeAdapter(key.takes, config=ConfigDict(hide_input_in_errors=True))


def _place_embeddings(
    settings: dict[Path, Given], implied: dict[Path, Given], values: Mapping[str, Given]
) -> Sequence[str]:
    """Where embeddings come from, by Memobase's rules; changes both mappings and returns what has no effect."""
    provider = values.get("embedding_provider")
    name = "openai" if provider is None else provider.value
    address, key = values.get("embedding_base_url"), values.get("embedding_api_key")
    place: Path = ("embedding", "base_url")
    enabled = values.get("enable_event_embedding")
    if enabled is not None and not enabled.value:
        return ()
    if name == "openai" and key is None and address is not None:
        del settings[place]
        return [f"{address.place}: no effect without embedding_api_key, as in Memobase; the LLM's address is used"]
    if name == "openai" and key is not None and address is None:
        # Else the LLM's server would be shown a key of OpenAI's.
        implied[place] = Given(OPENAI_ADDRESS, f"implied by {key.place}", key.in_file)
    if name in ("ollama", "lmstudio") and provider is not None and address is None:
        raise ConfigurationError(
            f"configuration: embedding_base_url must be set with embedding_provider: {name} ({provider.place})"
        )
    if name == "ollama" and address is not None:
        bare = str(address.value).rstrip("/")
        settings[place] = Given(bare if bare.endswith("/v1") else f"{bare}/v1", address.place, address.in_file)
    if name == "jina" and provider is not None:
        implied[place] = Given(JINA_ADDRESS, f"implied by {provider.place}", provider.in_file)
        implied["embedding", "api"] = Given("jina", f"implied by {provider.place}", provider.in_file)
    return ()


def _implied(values: Mapping[str, Given]) -> dict[Path, Given]:
    implied: dict[Path, Given] = {}
    by = next((values[name] for name in _NAMES_OF_A_MODEL if name in values), None)
    if by is not None:
        implied["extraction", "provider"] = Given("openai", f"implied by {by.place}", by.in_file)
    closes_at = values.get("max_chat_blob_buffer_token_size")
    if closes_at is not None and isinstance(closes_at.value, int) and closes_at.value > PROCESS_TOKENS:
        path = ("buffer", "max_chat_blob_buffer_process_token_size")
        implied[path] = Given(closes_at.value, f"implied by {closes_at.place}", closes_at.in_file)
    return implied


def _note(key: MemobaseKey, given: Given) -> str:
    return f"{given.place}: no effect{' yet' if key.effect == 'later' else ''}, {key.note}"


def _unknown(given: Mapping[str, Given]) -> Iterator[str]:
    for name, value in given.items():
        if name not in MEMOBASE_KEYS:
            close = nearest(name, MEMOBASE_KEYS)
            yield f"{value.place}: unknown to Memobase's server and to memostream" + (
                f"; did you mean {close}?" if close else ""
            )
