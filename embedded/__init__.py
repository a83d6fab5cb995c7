"""A Kafka broker and a Postgres with pgvector on this machine, from PyPI packages and checked jars."""

from embedded.addresses import EmbeddedAddresses, read_addresses
from embedded.kafka import EmbeddedKafka
from embedded.postgres import EmbeddedPostgres
from embedded.services import embedded_services

__all__ = [
    "EmbeddedAddresses",
    "EmbeddedKafka",
    "EmbeddedPostgres",
    "embedded_services",
    "read_addresses",
]
