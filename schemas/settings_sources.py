"""Where settings come from: pydantic-settings' sources in their order, and errors that name the place."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import yaml  # type: ignore[import-untyped]
from dotenv import dotenv_values
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from schemas.errors import ConfigurationError
from schemas.memobase_config import Given, Translation, given_variables, translate
from schemas.memobase_keys import MEMOBASE_KEYS
from schemas.settings_errors import problems_of, spoken, unknown_key

ENVIRONMENT_PREFIX: Final = "MEMOSTREAM_"
NESTING: Final = "__"
CONFIG_VARIABLE: Final = "MEMOSTREAM_CONFIG"
DEFAULT_CONFIG_FILE: Final = Path("config.yaml")
DEFAULT_ENV_FILE: Final = Path(".env")
# Read by other parts than the settings, so not mistaken for a misspelt key.
OTHER_VARIABLES: Final = (
    *(CONFIG_VARIABLE, "MEMOSTREAM_EMBEDDED_", "MEMOSTREAM_DATA_DIR", "MEMOSTREAM_TEST_"),
    "MEMOSTREAM_MEMOBASE_URL",
)


class Layers:
    """The command line above the environment above `.env` above the file, for the sections of `model`.

    Memobase's variables stand between our own and the file; its keys may stand in the file beside our sections.
    """

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
        self._stronger: tuple[_Layer, ...] = (
            _Given(overrides),
            _Variables("environment variable", environ, model),
            _Variables(f"{env_file}:", dotenv, model),
        )
        self._document = _Document(config_file or DEFAULT_CONFIG_FILE, model)
        self._translation = _translation(self._document, environ, dotenv, f"{env_file}:")
        self._document.check_agreement(self._translation)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """What stands in a configuration of Memobase's and changes nothing, a sentence each, once it was read."""
        return self._translation.without_effect

    @property
    def _layers(self) -> tuple["_Layer", ...]:
        translation = self._translation
        return (
            *self._stronger,
            _Translated(translation.settings),
            self._document,
            _Translated(translation.implied),
        )

    def read(self) -> dict[str, Any]:
        """Validated sections by name; raises ConfigurationError, which quotes no value."""
        sections = self._read()
        offline = self._translation.for_offline()
        # The provider is known only now, for our own key may stand anywhere.
        if offline != self._translation and sections["extraction"].provider == "offline":
            self._translation = offline
            sections = self._read()
        return sections

    def _read(self) -> dict[str, Any]:
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
        lines = []
        for path, kind, text in problems_of(error):
            unknown = kind == "extra_forbidden"
            elsewhere = MEMOBASE_KEYS if len(path) == 1 else ()
            line = unknown_key(path, self._model, elsewhere) if unknown else f"{spoken(path)}: {text}" if path else text
            # What is wrong with a whole section may come from several places.
            place = self._place(path) if unknown or len(path) > 1 else None
            lines.append(f"{line} ({place})" if place else line)
        return "configuration: " + "; ".join(lines)

    def _place(self, path: Sequence[str | int]) -> str | None:
        # What is missing stands nowhere, but the key that it is missing in does.
        for known in (path, path[:2]):
            for layer in self._layers:
                if (place := layer.place(known)) is not None:
                    return place
        return None


def _translation(
    document: "_Document", environ: Mapping[str, str], dotenv: Mapping[str, str], dotenv_label: str
) -> Translation:
    given = {
        **document.of_memobase,
        **dict(given_variables(dotenv, dotenv_label)),
        **dict(given_variables(environ, "environment variable")),
    }
    return translate(given, {**dotenv, **environ})


class _Layer(Protocol):
    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource: ...

    def place(self, path: Sequence[str | int]) -> str | None:
        """Where this layer sets the key, for a person; None if it does not."""
        ...


class _Given:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        return InitSettingsSource(settings, init_kwargs=self._values)

    def place(self, path: Sequence[str | int]) -> str | None:
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
                raise ConfigurationError(f"configuration: {unknown_key(path, model)} ({label} {name})")

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        source = EnvSettingsSource(settings)
        source.env_vars = {name.lower(): text for name, text in self._variables.items()}
        return source

    def place(self, path: Sequence[str | int]) -> str | None:
        # A variable may hold a whole section as JSON, so a shorter name may have set the key.
        for length in range(len(path), 0, -1):
            wanted = (ENVIRONMENT_PREFIX + NESTING.join(map(str, path[:length]))).lower()
            for name in self._variables:
                if name.lower() == wanted:
                    return f"{self._label} {name}"
        return None


class _Translated:
    """Settings that Memobase's keys and variables became."""

    def __init__(self, settings: Mapping[tuple[str, str], Given]) -> None:
        self._settings = settings

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        sections: dict[str, dict[str, object]] = {}
        for (section, key), given in self._settings.items():
            sections.setdefault(section, {})[key] = given.value
        return InitSettingsSource(settings, init_kwargs=sections)

    def place(self, path: Sequence[str | int]) -> str | None:
        found = [given.place for known, given in self._settings.items() if tuple(path[:2]) == known]
        return found[0] if found else None


class _Document:
    """The configuration file: our sections, Memobase's flat keys, or both.

    Memobase ignores what it does not know, so in a file that is all Memobase's an unknown key is only named. Where one
    of our sections stands in it, a person has edited it for us, and an unknown key is an error.
    """

    def __init__(self, path: Path, model: type[BaseModel]) -> None:
        self._path = path
        self._model = model
        values = _read(path)
        flat = {key for key in values if key in MEMOBASE_KEYS}
        if flat and not values.keys() & model.model_fields.keys():
            flat = set(values)
        # A section whose keys are all commented out is null.
        self._values = {key: value for key, value in values.items() if key not in flat and value is not None}
        self.of_memobase = {key: Given(values[key], f"{path}: {key}", in_file=True) for key in values if key in flat}

    def source(self, settings: type[BaseSettings]) -> PydanticBaseSettingsSource:
        return InitSettingsSource(settings, init_kwargs=self._values)

    def place(self, path: Sequence[str | int]) -> str | None:
        return str(self._path) if _holds(self._values, path) else None

    def check_agreement(self, translation: Translation) -> None:
        """Raises ConfigurationError where one of our keys and one of Memobase's say different things in this file."""
        problems = []
        for (section, key), given in translation.settings.items():
            if not given.in_file or not _holds(self._values, (section, key)):
                continue
            field = self._model.model_fields[section].annotation.model_fields[key]  # type: ignore[union-attr]
            if _parsed(field, self._values[section][key]) != _parsed(field, given.value):
                problems.append(f"{section}.{key} and {given.place} set the same to different values: leave one out")
        if problems:
            raise ConfigurationError("configuration: " + "; ".join(problems))


def read_yaml(path: Path) -> Any:
    """Raises ConfigurationError that names the file, and the place where it is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "unknown place"
        raise ConfigurationError(f"{path} is no YAML ({where})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from error


def _read(path: Path) -> dict[str, Any]:
    document = read_yaml(path) if path.exists() else None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: the top level must be a mapping of sections")
    return {str(key): value for key, value in document.items()}


def _parsed(field: FieldInfo, value: object) -> object:
    """The value as the setting holds it, or as it stands where the setting will refuse it."""
    annotation: Any = field.annotation
    for metadata in field.metadata:
        annotation = Annotated[annotation, metadata]
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return value


def _holds(values: Any, path: Sequence[str | int]) -> bool:
    for key in path:
        of_list = isinstance(values, list) and isinstance(key, int) and key < len(values)
        if not of_list and not (isinstance(values, Mapping) and key in values):
            return False
        values = values[key]
    return True
