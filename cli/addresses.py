"""Settings of a command, with the addresses of a system that `memostream up` runs in the data folder."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.commands.options import Place
from cli.console import note
from schemas.settings import Settings, load_settings

if TYPE_CHECKING:
    from embedded.addresses import EmbeddedAddresses


def settings_of(place: Place, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration; an address that is not configured is that of the running embedded system.

    Raises ConfigurationError as `load_settings` does.
    """
    quiet_libraries()
    settings = load_settings(place.config, environ)
    configured = explicit_addresses(settings)
    running = None if configured == {"kafka", "storage"} else running_system(place.data_dir)
    if running is not None:
        settings = with_addresses(settings, running, place.data_dir)
    if place.verbose:
        elsewhere = f"from the system in {place.data_dir}" if running else "the default; no system runs here"
        # A database URL may hold a password.
        for part, section in ((f"Kafka at {settings.kafka.bootstrap_servers}", "kafka"), ("Postgres", "storage")):
            note(f"{part}: {'as configured' if section in configured else elsewhere}")
    return settings


def quiet_libraries() -> None:
    """Keep libraries' remarks off the terminal: what they cannot put right by themselves is raised."""
    for name in ("aiokafka", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def running_system(data_dir: Path) -> "EmbeddedAddresses | None":
    """Addresses of the embedded parts that run in this folder now; None if there are none."""
    if not data_dir.is_dir():
        return None
    # Here, for it is an extra that a server has no need of, and takes a while to import.
    from embedded.addresses import read_addresses

    return read_addresses(data_dir)


def explicit_addresses(settings: Settings) -> set[str]:
    """The sections whose address somebody has configured."""
    named = {
        "kafka": "bootstrap_servers" in settings.kafka.model_fields_set,
        "storage": "database_url" in settings.storage.model_fields_set,
    }
    return {section for section, is_named in named.items() if is_named}


def with_addresses(settings: Settings, addresses: "EmbeddedAddresses", data_dir: Path) -> Settings:
    """The settings with these addresses where none is configured, and the worker's files in the same folder."""
    configured = explicit_addresses(settings)
    updates: dict[str, dict[str, Any]] = {}
    if "kafka" not in configured and addresses.bootstrap_servers:
        updates["kafka"] = {"bootstrap_servers": addresses.bootstrap_servers}
    if "storage" not in configured and addresses.database_url:
        updates["storage"] = {"database_url": addresses.database_url}
    if "data_dir" not in settings.buffer.model_fields_set:
        updates["buffer"] = {"data_dir": data_dir / "worker"}
    return overridden(settings, updates)


def overridden(settings: Settings, updates: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The settings with other values in some sections, checked again."""
    sections = {}
    for section, values in updates.items():
        current = getattr(settings, section)
        fields = {name: getattr(current, name) for name in current.model_fields_set}
        sections[section] = type(current).model_validate({**fields, **values})
    return settings.model_copy(update=sections)
