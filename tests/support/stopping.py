"""How long a worker takes to stop when every part of it uses up its limit."""

from schemas.settings import Settings
from streams.relay import CLOSE_TIMEOUT_S


def longest_stop_s(settings: Settings) -> float:
    """Buffer, then extraction (what runs, then its commit), then the relay (its batch, its producers, its leases)."""
    return settings.kafka.session_timeout_s + 3 * settings.worker.shutdown_timeout_s + 2 * CLOSE_TIMEOUT_S
