"""Judgements on the database: values in, findings out."""

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cli.doctor.findings import Finding, failed, ok, unless_faulty, warning
from schemas.errors import ConfigurationError
from schemas.memory import EmbeddingModel
from schemas.policies import checked_policy
from schemas.project_config import parse_project_config
from schemas.settings import BUNDLED_EMBEDDING_MODEL, Settings
from storage.holding import BUDGET
from storage.inspection import Extension, HeldSummary, SchemaState, StoredEmbeddings

# More than a lease or a deadline of ours bears.
CLOCK_SLACK_S: Final = 5.0
# A relay publishes within a second of a commit; what waits this long is stuck.
OUTBOX_SLACK_S: Final = 60.0
# The first with halfvec.
OLDEST_PGVECTOR: Final = (0, 7)
# Projects that are named one by one.
MAX_PROJECTS: Final = 5

_ENTRY_FAULTS: Final = {
    "28P01": ("it refuses the password", "correct the password in storage.database_url"),
    "28000": (
        "it does not let this user in",
        "correct the user in storage.database_url, or let it in (LOGIN, pg_hba.conf)",
    ),
    "3D000": ("it has no such database", "create it (CREATE DATABASE), or correct the name in storage.database_url"),
    "42501": ("this user may not connect to it", "GRANT CONNECT ON DATABASE to the user"),
    "53300": ("it has no connection left", "raise max_connections, or lower storage.pool_size of the workers"),
    "57P03": ("it is starting or shutting down", "wait, and look at Postgres' log"),
}


def judge_entry(where: str, state: str | None, error: str) -> Finding:
    """Why no connection came about, by SQLSTATE; without one, the server was not reached."""
    if state in _ENTRY_FAULTS:
        found, fix = _ENTRY_FAULTS[state]
        return failed(f"{where}: {found}", fix)
    if state is not None:
        return failed(f"{where} refuses us ({error})", "look at Postgres' log for the reason")
    return failed(
        f"{where} cannot be reached ({error})",
        "start Postgres, or correct host and port in storage.database_url; check the firewall",
    )


def judge_extension(extension: Extension) -> Finding:
    if extension.installed is not None:
        if _version(extension.installed) < OLDEST_PGVECTOR:
            return failed(
                f"pgvector {extension.installed} has no halfvec",
                "install 0.7 or newer on the server, then run ALTER EXTENSION vector UPDATE",
            )
        return ok(f"pgvector {extension.installed}")
    if extension.available is None:
        return failed("the server has no pgvector", "install it on the server (package postgresql-NN-pgvector)")
    if not extension.may_create:
        return failed(
            "pgvector is not in this database, and this user may not put it there",
            "as a superuser, run CREATE EXTENSION vector in this database",
        )
    return warning(
        f"pgvector {extension.available} is not in this database yet",
        "run `memostream migrate`, or start a worker: both put it there",
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def judge_schema(schema: SchemaState) -> Finding:
    if not schema.is_known:
        return failed(
            f"the database was migrated by a newer memostream (revision {schema.revision})",
            "upgrade this memostream, or choose another database",
        )
    if schema.pending and not schema.may_create:
        return failed(
            f"{_migrations(schema.pending)} to make, and this user may not create tables",
            "GRANT CREATE ON SCHEMA public to the user, or run `memostream migrate` as another",
        )
    if schema.revision is None:
        return warning("there are no tables yet", "run `memostream migrate`, or start a worker: both make them")
    if schema.pending:
        return warning(
            f"the tables are older than this memostream: {_migrations(schema.pending)} to make",
            "run `memostream migrate`, or start a worker: both make them",
        )
    return ok(f"up to date (revision {schema.revision})")


def judge_embeddings(stored: StoredEmbeddings, dimension: int, model: str | None) -> list[Finding]:
    """Vectors of another dimension do not fit the tables; those of another model cannot be compared."""
    if stored.next_model is not None and model is not None and EmbeddingModel(model, dimension) == stored.next_model:
        if stored.is_ready:
            return [ok(f"{stored.next_model}, beside those of {stored.model}: `memostream reembed finish` ends that")]
        return [
            failed(
                f"the embeddings of {stored.next_model} are still being made",
                "start with this configuration when `memostream reembed status` says that they are ready",
            )
        ]
    faults = []
    if stored.dimension != dimension:
        faults.append(
            failed(
                f"the database holds embeddings of {stored.dimension} dimensions, embedding.dimension is {dimension}",
                f"set embedding.dimension to {stored.dimension}, choose another database, or make others by "
                "`memostream reembed`",
            )
        )
    if model is not None and stored.model is not None and stored.model != model:
        faults.append(
            failed(
                f"the database holds embeddings of {stored.model}, embedding.model is {model}",
                f"choose another database, make others by `memostream reembed`, or {_model_again(stored.model)}",
            )
        )
    return faults or [ok(f"{stored.dimension} dimensions, {stored.model or 'of no model yet'}")]


def _model_again(model: str) -> str:
    if model == BUNDLED_EMBEDDING_MODEL:
        return "set extraction.provider to offline, as it was when the database was made"
    return f"set embedding.model to {model}"


def judge_held(held: HeldSummary, now: datetime) -> Finding:
    if not held.windows or held.oldest is None:
        return ok("none")
    found = (
        f"{held.windows:,} windows of {held.users:,} users wait, the first for {_age(held.oldest, now)}, "
        f"most of them because: {held.reason}"
    )
    if held.reason == BUDGET:
        return warning(found, "raise budget.* and restart the workers, or wait: they go on when the day ends (UTC)")
    return warning(found, "put that right; they are tried again by themselves, in order")


def judge_outbox(rows: int, oldest: datetime | None, relays: int, now: datetime) -> Finding:
    waits_s = 0.0 if oldest is None else (now - oldest).total_seconds()
    if oldest is None or waits_s <= OUTBOX_SLACK_S:
        return ok(f"{rows:,} rows wait")
    found = f"{rows:,} {_changes(rows)} to be published, the oldest for {_age(oldest, now)}"
    if not relays:
        return warning(f"{found}, and no relay runs", "start `memostream worker` with the role relay")
    return warning(f"{found}, though {relays} relays run", "look for relay.* at warning or error in the workers' logs")


def judge_projects(settings: Settings, configs: Mapping[str, str]) -> list[Finding]:
    """A warning for each of the first few projects whose configuration, which was right once, is not followed."""
    faults = []
    for project_id, text in configs.items():
        try:
            checked_policy(settings, parse_project_config(text))
        except ConfigurationError as error:
            fix = f"correct it: memostream project config set {shlex.quote(project_id)} FILE"
            faults.append(
                warning(f"project {project_id} has the server's settings, for its own do not hold: {error}", fix)
            )
    if len(faults) > MAX_PROJECTS:
        others = len(faults) - MAX_PROJECTS
        faults[MAX_PROJECTS:] = [warning(f"{others:,} more projects likewise", "correct these first")]
    return unless_faulty(faults, f"{len(configs):,} with a configuration of their own")


def judge_clock(ours: datetime, theirs: datetime) -> Finding:
    ahead_s = (theirs - ours).total_seconds()
    if abs(ahead_s) > CLOCK_SLACK_S:
        return warning(
            f"Postgres' clock is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's",
            "set both by NTP",
        )
    return ok(f"Postgres' clock agrees within {CLOCK_SLACK_S:g} s")


def _changes(count: int) -> str:
    return "change waits" if count == 1 else "changes wait"


def _migrations(count: int) -> str:
    return "1 migration is" if count == 1 else f"{count} migrations are"


def _age(moment: datetime, now: datetime) -> str:
    minutes = max(0.0, (now - moment).total_seconds()) / 60
    return f"{minutes:,.0f} minutes" if minutes < 120 else f"{minutes / 60:,.0f} hours"
