"""How far the vectors of the model that is to follow are: counted by table, and what a run that is gone had claimed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.reembedding import HAS_TEXT, TEXTS


@dataclass(frozen=True, slots=True)
class Progress:
    """Texts of one table: `missing` are to be embedded, `refused` were not taken by the model, or say nothing to it.

    `tokens` is an estimate of what is missing, on the high side.
    """

    texts: int = 0
    embedded: int = 0
    missing: int = 0
    refused: int = 0
    tokens: int = 0

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(
            self.texts + other.texts,
            self.embedded + other.embedded,
            self.missing + other.missing,
            self.refused + other.refused,
            self.tokens + other.tokens,
        )


async def read_progress(connection: AsyncConnection, now: datetime, claim_s: float) -> dict[str, Progress]:
    """By table; it reads every text's length, so on a large database it takes a while."""
    found = {}
    for table in TEXTS:
        row = (
            await connection.execute(
                text(f"""
                SELECT count(*) AS texts, count(next_embedding) AS embedded,
                    count(*) FILTER (WHERE {_missing(":until")}) AS missing,
                    count(*) FILTER (WHERE next_embedding IS NULL AND coalesce(next_embed_after > :until, true))
                        AS refused,
                    coalesce(sum({_tokens(TEXTS[table])}) FILTER (WHERE {_missing(":until")}), 0) AS tokens
                FROM {table} WHERE {HAS_TEXT[table]}
                """),
                {"until": now + timedelta(seconds=claim_s)},
            )
        ).one()
        found[table] = Progress(row.texts, row.embedded, row.missing, row.refused, int(row.tokens))
    return found


async def read_planned(connection: AsyncConnection) -> dict[str, Progress]:
    """Likewise before anything is begun: every text is missing."""
    found = {}
    for table in TEXTS:
        query = text(
            f"SELECT count(*) AS texts, coalesce(sum({_tokens(TEXTS[table])}), 0) AS tokens FROM {table} "
            f"WHERE {HAS_TEXT[table]}"
        )
        row = (await connection.execute(query)).one()
        found[table] = Progress(texts=row.texts, missing=row.texts, tokens=int(row.tokens))
    return found


async def count_missing(connection: AsyncConnection, now: datetime, claim_s: float) -> int:
    """Texts that are still to be embedded, by the index; fast where few are."""
    parts = " + ".join(
        f"(SELECT count(*) FROM {table} WHERE {_missing(':until')} AND {HAS_TEXT[table]})" for table in TEXTS
    )
    until = now + timedelta(seconds=claim_s)
    return int(await connection.scalar(text(f"SELECT {parts}"), {"until": until}) or 0)


async def count_texts(connection: AsyncConnection) -> int:
    parts = " + ".join(f"(SELECT count(*) FROM {table} WHERE {HAS_TEXT[table]})" for table in TEXTS)
    return int(await connection.scalar(text(f"SELECT {parts}")) or 0)


async def release_claims(connection: AsyncConnection, now: datetime, claim_s: float) -> None:
    """Make due what was claimed by a run that is gone."""
    for table in TEXTS:
        await connection.execute(
            text(
                f"UPDATE {table} SET next_embed_after = '-infinity' "
                f"WHERE next_embed_after > :now AND {_missing(':until')}"
            ),
            {"now": now, "until": now + timedelta(seconds=claim_s)},
        )


def _missing(until: str) -> str:
    # What is due, or claimed; what is put off for longer was refused.
    return f"next_embedding IS NULL AND next_embed_after IS NOT NULL AND next_embed_after <= {until}"


def _tokens(body: str) -> str:
    """As `estimate_tokens`, from two lengths: a character that is no ASCII has three bytes as a rule."""
    wide = f"(octet_length({body}) - length({body})) / 2"
    return f"(length({body}) - {wide} + 2) / 3 + {wide}"
