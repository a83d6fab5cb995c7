"""The SQL of a search, put together of constant parts; all that a caller says is a parameter."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from sqlalchemy import TextClause, text

# Of reciprocal rank fusion: the larger, the less it matters to be first (Cormack, Clarke and Büttcher, SIGIR 2009).
FUSION_RANK: Final = 60
# Of BM25: how soon more of a word counts for no more, and how much long texts count for less.
BM25_SATURATION: Final = 1.2
BM25_LENGTH: Final = 0.75
# A question that has more words is a text; its first ones must do.
MAX_TERMS: Final = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """What a statement is put together for: `optional` are those of OPTIONAL that have a value."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"occurred_since", "occurred_until", "recorded_since", "session_id", "tags", "half_life_days"}
    )

    mode: str
    kinds: tuple[str, ...]
    optional: frozenset[str] = frozenset()


_OF_USER: Final = """project_id = CAST(:project_id AS text) AND user_id = CAST(:user_id AS text)
        AND generation = (SELECT generation FROM live)"""
_OF_EVENT: Final = f"""event_id IN (
            SELECT event_id FROM events WHERE {_OF_USER} AND tags @> CAST(:tags AS jsonb)
        )"""
_CONDITIONS: Final = {
    "occurred_since": "occurred_at >= CAST(:occurred_since AS timestamptz)",
    "occurred_until": "occurred_at < CAST(:occurred_until AS timestamptz)",
    "recorded_since": "recorded_at > CAST(:recorded_since AS timestamptz)",
    "session_id": "session_ids @> ARRAY[CAST(:session_id AS text)]",
}
# Looked up in the snapshot in which the vectors are read, for they may change places.
_VECTORS: Final = """vectors AS MATERIALIZED (
        SELECT memostream_vector_column(CAST(:model AS text), CAST(:dimension AS int)) AS name
    ),
    """
_OWN_VECTOR: Final = (
    "CASE (SELECT name FROM vectors) WHEN 'embedding' THEN embedding WHEN 'next_embedding' THEN next_embedding END"
)
_TABLES: Final = {"gist": "gists", "event": "events", "profile": "profiles"}

# What is said of a row that was found, by its kind; looked up for those rows only.
_SHOWN: Final = {
    "gist": (
        "gists.text, gists.event_id, its_event.tags, gists.session_ids, NULL AS topic, NULL AS sub_topic, "
        "best.occurred_at, gists.recorded_at AS created_at, gists.recorded_at AS updated_at",
        "JOIN gists ON gists.gist_id = best.id JOIN events AS its_event ON its_event.event_id = gists.event_id",
    ),
    "event": (
        "events.summary, events.event_id, events.tags, events.session_ids, NULL, NULL, "
        "best.occurred_at, events.recorded_at, coalesce(events.updated_at, events.recorded_at)",
        "JOIN events ON events.event_id = best.id",
    ),
    "profile": (
        "profiles.content, NULL, NULL, NULL, profiles.topic, profiles.sub_topic, "
        "best.occurred_at, profiles.created_at, profiles.updated_at",
        "JOIN profiles ON profiles.profile_id = best.id",
    ),
}

# Postgres computes with exact decimals where no number is a float, which takes a multiple of the time.
_ONE: Final = "CAST(1 AS float8)"
_KEYWORDS: Final = f"""
    asked AS MATERIALIZED (
        SELECT term, number
        FROM unnest((memostream_terms(CAST(:question AS text)))[1:{MAX_TERMS}]) WITH ORDINALITY AS of (term, number)
    ),
    hits AS MATERIALIZED (
        SELECT kind, id, number, CAST(length(keywords) AS float8) AS size FROM candidates JOIN asked ON keywords @@ term
    ),
    corpus AS (
        SELECT CAST(count(*) AS float8) AS total, CAST(greatest(avg(length(keywords)), 1) AS float8) AS mean_size
        FROM candidates
    ),
    weights AS (
        SELECT number, ln(1 + (max(total) - count(hits.id) + 0.5) / (count(hits.id) + 0.5)) AS weight
        FROM asked LEFT JOIN hits USING (number) CROSS JOIN corpus GROUP BY number
    ),
    words AS (
        SELECT kind, id, sum(
            weight * {BM25_SATURATION + 1}
            / (1 + {BM25_SATURATION} * ({1 - BM25_LENGTH} + {BM25_LENGTH} * size / mean_size))
        ) AS keyword_score, sum(weight) / (SELECT sum(weight) FROM weights) AS coverage
        FROM hits JOIN weights USING (number), corpus GROUP BY kind, id
    ),"""
# Rows of one rank in one list keep the order that they have in the other. A place in the list of keywords counts by the
# share of the question's words, by weight, that the row holds: else one common word would count as much as all of them.
_RANKED: Final = {
    "vector": """
    scored AS (
        SELECT *, CAST(NULL AS float8) AS keyword_score, similarity AS raw_score
        FROM candidates WHERE similarity > CAST(:threshold AS float8)
    ),""",
    "keyword": """
    scored AS (
        SELECT candidates.*, keyword_score, keyword_score AS raw_score FROM candidates JOIN words USING (kind, id)
    ),""",
    "hybrid": f"""
    ranked AS (
        SELECT candidates.*, keyword_score, coverage,
               CASE WHEN similarity > CAST(:threshold AS float8)
                    THEN row_number() OVER (ORDER BY similarity DESC NULLS LAST, keyword_score DESC NULLS LAST, id) END
               AS vector_rank,
               CASE WHEN keyword_score > 0
                    THEN row_number() OVER (ORDER BY keyword_score DESC NULLS LAST, similarity DESC NULLS LAST, id) END
               AS keyword_rank
        FROM candidates LEFT JOIN words USING (kind, id)
    ),
    scored AS (
        SELECT *,
               {(FUSION_RANK + 1) / 2} * (
                   coalesce({_ONE} / ({FUSION_RANK} + vector_rank), 0)
                   + coalesce(coverage / ({FUSION_RANK} + keyword_rank), 0)
               ) AS raw_score
        FROM ranked WHERE vector_rank IS NOT NULL OR keyword_rank IS NOT NULL
    ),""",
}
# What is said to be of the future is as old as what was said now; what is too old for a number has one all the same.
# A score below 0 falls with age, too.
_DECAY: Final = (
    " * power(CASE WHEN raw_score < 0 THEN 2 ELSE 0.5 END, "
    "least(1000, greatest(extract(epoch FROM CAST(:now AS timestamptz) - occurred_at), 0) "
    "/ (86400 * CAST(:half_life_days AS float8))))"
)


@lru_cache(maxsize=256)
def statement(shape: Shape) -> TextClause:
    """The statement of a shape, with the columns of `Found`."""
    decay = _DECAY if "half_life_days" in shape.optional else ""
    shown = "\nUNION ALL\n".join(
        f"SELECT best.kind, best.id, {columns}, best.similarity, best.keyword_score, best.score\n"
        f"FROM best {joins} WHERE best.kind = '{kind}'"
        for kind, (columns, joins) in _SHOWN.items()
        if kind in shape.kinds
    )
    vectors = _VECTORS if shape.mode != "keyword" else ""
    return text(f"""
WITH live AS (
        SELECT coalesce(max(live_generation), 0) AS generation FROM users
        WHERE project_id = CAST(:project_id AS text) AND user_id = CAST(:user_id AS text)
    ),
    {vectors}candidates AS MATERIALIZED ({" UNION ALL ".join(_candidates(kind, shape) for kind in shape.kinds)}
    ),{_KEYWORDS if shape.mode != "vector" else ""}{_RANKED[shape.mode]}
    best AS MATERIALIZED (
        SELECT *, CAST(raw_score{decay} AS float8) AS score FROM scored
        ORDER BY score DESC, occurred_at DESC, id LIMIT CAST(:limit AS int)
    )
SELECT * FROM (
{shown}
) AS found ORDER BY score DESC, occurred_at DESC, id
""")


def _candidates(kind: str, shape: Shape) -> str:
    """The rows that a search looks at, of one kind."""
    conditions = [_OF_USER]
    conditions += [condition for name, condition in _CONDITIONS.items() if name in shape.optional]
    if "tags" in shape.optional:
        conditions.append("tags @> CAST(:tags AS jsonb)" if kind == "event" else _OF_EVENT)
    # Its keywords would be none, and its text null.
    if kind == "event":
        conditions.append("summary <> ''")
    similarity = f"1 - ({_OWN_VECTOR} <=> CAST(:vector AS halfvec))"
    if shape.mode == "keyword":
        similarity = "CAST(NULL AS float8)"
    keywords = ", keywords" if shape.mode != "vector" else ""
    return f"""
        SELECT '{kind}' AS kind, {kind}_id AS id, occurred_at, {similarity} AS similarity{keywords}
        FROM {_TABLES[kind]} WHERE {" AND ".join(conditions)}"""
