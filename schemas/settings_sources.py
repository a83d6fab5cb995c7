"""Where settings come from: pydantic-settings' sources in their order, and errors that name the place."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import yaml  # type: ignore[import-untyped]
from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from schemas.errors import ConfigurationError

ENVIRONMENT_PREFIX: Final = "MEMOSTREAM_"
NESTING: Final = "__"
CONFIG_VARIABLE: Final = "MEMOSTREAM_CONFIG"
DEFAULT_CONFIG_FILE: Final = Path("config.yaml")
DEFAULT_ENV_FILE: Final = Path(".env")
# Read by other parts than the settings, so not mistaken for a misspelt key.
OTHER_VARIABLES: Final = (CONFIG_VARIABLE, "MEMOSTREAM_EMBEDDED_", "MEMOSTREAM_DATA_DIR", "MEMOSTREAM_TEST_")


class Layers:
    """The command line above the environment above `.env` above the file, for the sections of `model`."""

    def __init__(
        self,
        model: type[BaseModel],
        config_file: Path | None,
        environ: Mapping[str, str],
        env_file: Path | None,
        overrides: Mapping[str, Any],
    ) -> None:
        env_file = env_file or DEFAULT_ENV_FILE
        self._model = model
        dotenv = {name: text for name, text in dotenv_values(env_file).items() if text}
        named = environ.get(CONFIG_VARIABLE) or dotenv.get(CONFIG_VARIABLE)
        if config_file is None and named:
            config_file = Path(named)
        if config_file is not None and not config_file.exists():
            raise ConfigurationError(f"the configuration file {config_file} does not exist")
        self._layers: tuple[_Layer, ...] = (
            _Given(overrides),
            _Variables("environment variable", environ, model),
            _Variables(f"{env_file}:", dotenv, model),
            _Document(config_file or DEFAULT_CONFIG_FILE),
        )

    def read(self) -> dict[str, Any]:
        """Validated sections by name; raises ConfigurationError, which quotes no value."""
        layers = self._layers

        class Reader(self._model, BaseSettings):  # type: ignore[name-defined, misc]
            model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter=NESTING)

            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return tuple(layer.source(settings_cls) for layer in layers)

        try:
            reader = Reader()
        except ValidationError as error:
            raise ConfigurationError(self._describe(error)) from None
        except SettingsError as error:
            # Its text names the section only; its cause would quote the value.
            raise ConfigurationError(f"configuration: {error}; write mappings as JSON") from None
        return {name: getattr(reader, name) for name in self._model.model_fields}

    def _describe(self, error: ValidationError) -> str:
        # Inputs are left out: they may be secrets.
        lines = []
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            path = tuple(str(part) for part in item["loc"])
            dotted = ".".join(path)
            text = item["msg"].removeprefix("Value error, ")
            unknown = item["type"] == "extra_forbidden"
            line = _unknown(path, self._model) if unknown else f"{dotted}: {text}" if path else text
            # What is wrong with a whole section may come from several places.
            places = (layer.place(path) for layer in self._layers) if unknown or len(path) > 1 else ()
            place = next(filter(None, places), None)
            lines.append(f"{line} ({place})" if place else line)
        return "configuration: " + "; ".join(lines)


class _Layer(Protocol):
    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource: ...

    def place(self, path: Sequence[str]) -> str | None:
        """Where this layer sets the key, for a person; None if it does not."""
        ...


class _Given:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        return InitSettingsSource(settings, init_kwargs=self._values)

    def place(self, path: Sequence[str]) -> str | None:
        return "the command line" if _holds(self._values, path) else None


class _Variables:
    """Variables of the environment or of a `.env` file; refuses a section that nobody knows."""

    def __init__(self, label: str, variables: Mapping[str, str], model: type[BaseModel]) -> None:
        self._label = label
        self._variables = {
            name: text
            for name, text in variables.items()
            if text and name.upper().startswith(ENVIRONMENT_PREFIX) and not name.startswith(OTHER_VARIABLES)
        }
        for name in self._variables:
            path = name[len(ENVIRONMENT_PREFIX) :].lower().split(NESTING)
            if path[0] not in model.model_fields:
                raise ConfigurationError(f"configuration: {_unknown(path, model)} ({label} {name})")

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        source = EnvSettingsSource(settings)
        source.env_vars = {name.lower(): text for name, text in self._variables.items()}
        return source

    def place(self, path: Sequence[str]) -> str | None:
        # A variable may hold a whole section as JSON, so a shorter name may have set the key.
        for length in range(len(path), 0, -1):
            wanted = (ENVIRONMENT_PREFIX + NESTING.join(path[:length])).lower()
            for name in self._variables:
                if name.lower() == wanted:
                    return f"{self._label} {name}"
        return None


class _Document:
    def __init__(self, path: Path) -> None:
        self._path = path

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        try:
            source = YamlConfigSettingsSource(settings, yaml_file=self._path)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "unknown place"
            raise ConfigurationError(f"{self._path} is no YAML ({where})") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._path} cannot be read: {type(error).__name__}") from error
        except (TypeError, ValueError):
            raise ConfigurationError(f"{self._path}: the top level must be a mapping of sections") from None
        # A section whose keys are all commented out is null.
        self._values = {key: value for key, value in source.yaml_data.items() if value is not None}
        return InitSettingsSource(settings, init_kwargs=self._values)

    def place(self, path: Sequence[str]) -> str | None:
        return str(self._path) if _holds(self._values, path) else None


def _holds(values: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _unknown(path: Sequence[str], model: type[BaseModel]) -> str:
    """Names the key and the known one that is nearest: in its own section first, then anywhere."""
    keys = {name: _keys(field.annotation) for name, field in model.model_fields.items()}
    own = {key: f"{path[0]}.{key}" for key in keys.get(path[0], ())}
    anywhere = {key: f"{section}.{key}" for section, names in keys.items() for key in names}
    sections = {section: section for section in keys}
    # A misspelt section, with a key that it knows.
    renamed = [f"{name}.{path[-1]}" for name in _close(path[0], sections) if path[-1] in keys[name]]
    found = _close(path[-1], own) or renamed or _close(path[-1], sections | anywhere)
    hint = f"did you mean {found[0]}?" if found else f"known here: {', '.join(own.values() or sections)}"
    return f"unknown key {'.'.join(path)}; {hint}"


def _keys(annotation: object) -> Sequence[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return tuple(annotation.model_fields)
    return ()


def _close(word: str, known: Mapping[str, str]) -> list[str]:
    return [known[name] for name in difflib.get_close_matches(word, known, n=1)]
