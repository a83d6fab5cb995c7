"""Which relay publishes which shard: leases that expire by the database's clock."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Integer, Text, and_, bindparam, delete, extract, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.compiled import Compiled
from storage.tables import relay_leases, relays

# What every relay listens to, for slots that have rows and for shards that are freed.
CHANNEL: Final = "memostream_outbox"
# Claims are short and rare, so they simply take turns.
_CLAIM_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('memostream relay leases'))")
# On the channel, where slots are told by their number.
FREED: Final = "shards-freed"
# Of a statement with the parameters `shards`, `shard` and `owner`.
IS_HELD: Final = and_(
    relay_leases.c.shards == bindparam("shards", type_=Integer),
    relay_leases.c.shard == bindparam("shard", type_=Integer),
    relay_leases.c.owner == bindparam("owner", type_=Text),
    relay_leases.c.expires_at > func.clock_timestamp(),
)
_HELD: Final = Compiled(select(relay_leases.c.shard).where(IS_HELD), alone=True)


@dataclass(frozen=True, slots=True)
class ShareOut:
    """How many shards a relay should have, and which it has; when the next of the others goes, unless it checks in."""

    fair: int
    held: frozenset[int]
    next_expiry_s: float


async def check_in(connection: AsyncConnection, owner: str, shards: int, lease_s: float) -> ShareOut:
    """Count as a live relay for another `lease_s`, and renew the leases that this relay still holds."""
    await connection.execute(delete(relays).where(relays.c.expires_at <= func.clock_timestamp()))
    expires_at = func.clock_timestamp() + timedelta(seconds=lease_s)
    entry = insert(relays).values(owner=owner, expires_at=expires_at)
    await connection.execute(
        entry.on_conflict_do_update(index_elements=["owner"], set_={"expires_at": entry.excluded.expires_at})
    )
    renewed = await connection.execute(
        update(relay_leases)
        .where(
            relay_leases.c.owner == owner,
            relay_leases.c.shards == shards,
            relay_leases.c.expires_at > func.clock_timestamp(),
        )
        .values(expires_at=expires_at)
        .returning(relay_leases.c.shard)
    )
    held = frozenset(renewed.scalars())
    next_expiry_s = extract("epoch", func.min(relays.c.expires_at) - func.clock_timestamp())
    others = select(func.count(), func.coalesce(next_expiry_s, lease_s)).where(relays.c.owner != owner)
    count, expiry_s = (await connection.execute(others)).one()
    return ShareOut(-(-shards // (count + 1)), held, float(expiry_s))


async def claim(connection: AsyncConnection, owner: str, shards: int, limit: int, lease_s: float) -> frozenset[int]:
    """Take up to `limit` shards that nobody holds.

    None while a relay with another number of shards holds a lease: its shards overlap ours.
    """
    await connection.execute(_CLAIM_LOCK)
    other = relay_leases.alias("other")
    live = relay_leases.alias("live")
    wanted = func.generate_series(0, shards - 1).table_valued("shard").render_derived("wanted")
    free = (
        select(
            literal(shards),
            wanted.c.shard,
            literal(owner),
            func.clock_timestamp() + timedelta(seconds=lease_s),
        )
        .where(
            ~select(live.c.shard)
            .where(
                live.c.shards == shards,
                live.c.shard == wanted.c.shard,
                live.c.expires_at > func.clock_timestamp(),
            )
            .exists(),
            ~select(other.c.shard)
            .where(other.c.shards != shards, other.c.expires_at > func.clock_timestamp())
            .exists(),
        )
        .order_by(func.random())
        .limit(limit)
    )
    entry = insert(relay_leases).from_select(["shards", "shard", "owner", "expires_at"], free)
    claimed = await connection.execute(
        entry.on_conflict_do_update(
            index_elements=["shards", "shard"],
            set_={"owner": entry.excluded.owner, "expires_at": entry.excluded.expires_at},
        ).returning(relay_leases.c.shard)
    )
    return frozenset(claimed.scalars())


async def holds(connection: AsyncConnection, owner: str, shards: int, shard: int) -> bool:
    """Whether the lease is this relay's and has not expired, by the database's clock."""
    return await _HELD.row(connection, owner=owner, shards=shards, shard=shard) is not None


async def release(connection: AsyncConnection, owner: str, shards: int, released: Collection[int]) -> None:
    """Give shards back and tell the others, so that they need not wait for them to expire."""
    await connection.execute(
        delete(relay_leases).where(
            relay_leases.c.owner == owner,
            relay_leases.c.shards == shards,
            relay_leases.c.shard.in_(list(released)),
        )
    )
    await _tell_others(connection)


async def check_out(connection: AsyncConnection, owner: str) -> None:
    """Give everything back and tell the others, whose fair share has grown."""
    await connection.execute(delete(relay_leases).where(relay_leases.c.owner == owner))
    await connection.execute(delete(relays).where(relays.c.owner == owner))
    await _tell_others(connection)


async def _tell_others(connection: AsyncConnection) -> None:
    await connection.execute(select(func.pg_notify(CHANNEL, FREED)))
