"""What search reads: keywords in any script, half-precision vectors, sessions, and embeddings still to be made."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import context, op
from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Han with its extensions, kana and Hangul: scripts in which no space parts words.
CJK: Final = (
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003134f"
)
# What Postgres' parser takes for letters where the database knows ASCII letters only.
SIGNS: Final = "\u00a0-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u3020\u30a0\u30fb"
# A tsvector holds a mebibyte; no text that search is for comes near.
MAX_CHARACTERS: Final = 20_000

# Accents and widths are taken off, so that "café" is found by "cafe".
_PLAIN: Final = f"""
CREATE FUNCTION memostream_plain(body text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN
CASE WHEN octet_length(body) = length(body) THEN left(body, {MAX_CHARACTERS})
ELSE regexp_replace(
    normalize(
        regexp_replace(normalize(left(body, {MAX_CHARACTERS}), NFKD), '[\u0300-\u036f]+', '', 'g'),
        NFKC
    ),
    '[{SIGNS}]+', ' ', 'g'
) END
"""

# Of a run of characters its parts in their order: with `shortest` 1 single ones and pairs, with 2 pairs, or a lone one.
_PARTS: Final = f"""
CREATE FUNCTION memostream_parts(plain text, shortest int) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (
    WITH spelled AS (
        SELECT place, CASE WHEN letter ~ '[{CJK}]' THEN letter END AS here
        FROM unnest(string_to_array(plain, NULL)) WITH ORDINALITY AS of (letter, place)
    ),
    runs AS (
        SELECT place, lag(here) OVER (ORDER BY place) AS before, here, lead(here) OVER (ORDER BY place) AS after
        FROM spelled
    ),
    parts AS (
        SELECT part, min(place) AS place
        FROM runs, unnest(
            ARRAY[here || after, CASE WHEN shortest = 1 OR coalesce(before, after) IS NULL THEN here END]
        ) AS part
        WHERE part IS NOT NULL GROUP BY part
    )
    SELECT array_agg(part ORDER BY place, part) FROM parts
)
"""

_KEYWORDS: Final = f"""
CREATE FUNCTION memostream_keywords(body text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN
CASE WHEN octet_length(body) = length(body) THEN to_tsvector('memostream', left(body, {MAX_CHARACTERS}))
ELSE to_tsvector('memostream', regexp_replace(memostream_plain(body), '[{CJK}]+', ' ', 'g'))
    || array_to_tsvector(coalesce(memostream_parts(memostream_plain(body), 1), '{{}}')) END
"""

# English words that say nothing are left out of a question that has others. A lexeme is quoted as tsquery wants it.
# In the order of the question, so that of a long one the beginning counts; words and pairs in turn.
_TERMS: Final = f"""
CREATE FUNCTION memostream_terms(question text) RETURNS tsquery[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (
    WITH plain AS (
        SELECT memostream_plain(question) AS body,
               regexp_replace(memostream_plain(question), '[{CJK}]+', ' ', 'g') AS spaced
    ),
    words AS (
        SELECT CASE WHEN length(to_tsvector('pg_catalog.english', spaced)) > 0 OR body <> spaced
               THEN to_tsvector('pg_catalog.english', spaced) ELSE to_tsvector('memostream', spaced) END AS vector
        FROM plain
    ),
    lexemes AS (
        SELECT lexeme, positions[1] AS place FROM words, unnest(vector)
        UNION ALL
        SELECT part, place FROM plain, unnest(memostream_parts(body, 2)) WITH ORDINALITY AS of (part, place)
    )
    SELECT coalesce(
        array_agg(
            ('''' || replace(replace(lexeme, E'\\\\', E'\\\\\\\\'), '''', '''''') || '''')::tsquery
            ORDER BY place, lexeme
        ),
        '{{}}'
    )
    FROM lexemes
)
"""

_EMBED_AGAIN: Final = """
CREATE FUNCTION memostream_embed_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.embedding IS NOT DISTINCT FROM OLD.embedding THEN
        NEW.embedding := NULL;
    END IF;
    NEW.embed_after := '-infinity';
    RETURN NEW;
END
$$
"""

# By table: the columns that hold its text, and that text as its keywords are taken of it.
TEXTS: Final = {
    "events": (("summary",), "summary"),
    "gists": (("text",), "text"),
    "profiles": (("topic", "sub_topic", "content"), "topic || ' ' || sub_topic || ' ' || content"),
}


def upgrade() -> None:
    dimension: int = context.config.attributes["embedding_dimension"]
    # Words are stemmed by English rules, whatever their language, and none is left out.
    op.execute("CREATE TEXT SEARCH DICTIONARY memostream_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = english)")
    op.execute("CREATE TEXT SEARCH CONFIGURATION memostream (COPY = pg_catalog.simple)")
    op.execute(
        "ALTER TEXT SEARCH CONFIGURATION memostream ALTER MAPPING FOR asciiword, word, asciihword, hword, "
        "hword_asciipart, hword_part WITH memostream_stem"
    )
    for function in (_PLAIN, _PARTS, _KEYWORDS, _TERMS, _EMBED_AGAIN):
        op.get_bind().exec_driver_sql(function)

    op.drop_column("gists", "keywords")
    for table, column in (("events", "session_ids"), ("gists", "session_ids")):
        op.add_column(table, sa.Column(column, sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False))
    for table in ("events", "gists"):
        op.alter_column(
            table, "embedding", type_=HALFVEC(dimension), postgresql_using=f"embedding::halfvec({dimension})"
        )
    op.add_column("profiles", sa.Column("embedding", HALFVEC(dimension), nullable=True))
    for table, (columns, text) in TEXTS.items():
        keywords = sa.Computed(f"memostream_keywords({text})", persisted=True)
        op.add_column(table, sa.Column("keywords", postgresql.TSVECTOR(), keywords, nullable=True))
        op.add_column(
            table,
            sa.Column("embed_after", sa.TIMESTAMP(timezone=True), server_default=sa.text("'-infinity'"), nullable=True),
        )
        has_text = " AND summary <> ''" if table == "events" else ""
        op.create_index(
            op.f(f"ix_{table}_embed_after"),
            table,
            ["embed_after"],
            postgresql_where=sa.text(f"embedding IS NULL AND embed_after IS NOT NULL{has_text}"),
        )
        was_changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)
        op.execute(
            f"CREATE TRIGGER embed_again BEFORE UPDATE OF {', '.join(columns)} ON {table} FOR EACH ROW "
            f"WHEN ({was_changed}) EXECUTE FUNCTION memostream_embed_again()"
        )


def downgrade() -> None:
    dimension: int = context.config.attributes["embedding_dimension"]
    for table in TEXTS:
        op.execute(f"DROP TRIGGER embed_again ON {table}")
        op.drop_index(op.f(f"ix_{table}_embed_after"), table)
        op.drop_column(table, "embed_after")
        op.drop_column(table, "keywords")
    op.drop_column("profiles", "embedding")
    for table in ("events", "gists"):
        op.alter_column(table, "embedding", type_=VECTOR(dimension), postgresql_using=f"embedding::vector({dimension})")
        op.drop_column(table, "session_ids")
    keywords = sa.Computed("to_tsvector('simple'::regconfig, text)", persisted=True)
    op.add_column("gists", sa.Column("keywords", postgresql.TSVECTOR(), keywords, nullable=True))
    for function in ("embed_again()", "terms(text)", "keywords(text)", "parts(text, int)", "plain(text)"):
        op.execute(f"DROP FUNCTION memostream_{function}")
    op.execute("DROP TEXT SEARCH CONFIGURATION memostream")
    op.execute("DROP TEXT SEARCH DICTIONARY memostream_stem")
