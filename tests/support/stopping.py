"""How long a program takes to stop when every part of it uses up its limit."""

from schemas.settings import Settings
from streams.buffer_service import SHUTDOWN_TIMEOUT_S
from streams.relay import CLOSE_TIMEOUT_S
from streams.worker_registry import TIMEOUT_S as REGISTRY_TIMEOUT_S

# Counts that are not written yet, Kafka's producer and consumer, Postgres.
GATEWAY_PARTS_S = 15.0


def longest_stop_s(settings: Settings) -> float:
    """Its place in the registry, buffer, then extraction (what runs, then its commit), then the relay (its batch, its
    producers, its leases)."""
    asked_s = REGISTRY_TIMEOUT_S + SHUTDOWN_TIMEOUT_S
    return asked_s + settings.kafka.session_timeout_s + 3 * settings.worker.shutdown_timeout_s + 2 * CLOSE_TIMEOUT_S


def longest_gateway_stop_s(settings: Settings) -> float:
    """Requests that are under way, then its parts."""
    return settings.api.shutdown_timeout_s + GATEWAY_PARTS_S
