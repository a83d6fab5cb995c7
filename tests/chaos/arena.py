"""What is attacked: brokers, a database, a model and workers, all of this run's own."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from embedded import EmbeddedPostgres
from schemas.settings import Settings
from streams.topics import Topics, ensure_topics
from streams.worker import migrate_database
from tests.chaos.model import ChaosModel
from tests.chaos.progress import Progress
from tests.chaos.workers import Workers
from tests.support.kafka_cluster import KafkaCluster

DATABASE: Final = "chaos"
PARTITIONS: Final = 6
SESSION_TIMEOUT_S: Final = 4.0
LEASE_S: Final = 4.0
# Of the scripted model, which draws a vector from each text.
DIMENSION: Final = 16


@dataclass(frozen=True)
class Arena:
    """Everything a fault may lay hands on."""

    cluster: KafkaCluster
    postgres: EmbeddedPostgres
    model: ChaosModel
    workers: Workers
    progress: Progress
    settings: Settings
    random: random.Random

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.kafka.topic_prefix)

    async def connect(self) -> asyncpg.Connection:
        """A session of ours, as superuser."""
        host = str(self.postgres.socket_dir)
        return await asyncpg.connect(host=host, user="postgres", database=DATABASE, timeout=10)


@asynccontextmanager
async def open_arena(folder: Path, *, brokers: int, workers: int, seed: int) -> AsyncIterator[Arena]:
    """Everything started and the topics made; the workers are started by whoever uses it."""
    folder.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        cluster = KafkaCluster(folder / "kafka", brokers)
        stack.push_async_callback(cluster.stop)
        await cluster.start()
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.push_async_callback(postgres.stop)
        await postgres.start()
        await postgres.create_database(DATABASE)
        model = await stack.enter_async_context(ChaosModel(dimension=DIMENSION))
        url = postgres.database_url(DATABASE)
        places = Workers(folder, workers, lambda data_dir: settings_of(cluster, brokers, url, model.base_url, data_dir))
        settings = places.settings()
        await migrate_database(settings)
        await ensure_topics(settings.kafka, settings.buffer)
        progress = Progress(settings.kafka)
        stack.push_async_callback(progress.close)
        yield Arena(cluster, postgres, model, places, progress, settings, random.Random(seed))


def settings_of(
    cluster: KafkaCluster, brokers: int, database_url: str, model_url: str, data_dir: Path
) -> Mapping[str, Any]:
    """Windows of moderate size, and short sessions, leases and time-outs: a fault is to be noticed after seconds."""
    return {
        "kafka": {
            "bootstrap_servers": cluster.bootstrap_servers,
            "partitions": PARTITIONS,
            "replication_factor": min(3, brokers),
            "session_timeout_s": SESSION_TIMEOUT_S,
            "heartbeat_interval_s": 1.0,
            "transaction_timeout_s": 10.0,
            "request_timeout_s": 10.0,
        },
        "storage": {
            "database_url": database_url,
            "pool_size": 3,
            "connect_timeout_s": 4.0,
            "idle_in_transaction_session_timeout_s": 8.0,
        },
        "buffer": {
            "store": "rocksdb",
            "data_dir": str(data_dir),
            "tokenizer": "estimate",
            "max_chat_blob_buffer_token_size": 512,
            "max_chat_blob_buffer_process_token_size": 8192,
        },
        "extraction": {
            "provider": "openai",
            "concurrency": 24,
            "hold_after_s": 4.0,
            "retry_min_s": 0.2,
            "retry_max_s": 2.0,
        },
        "llm": {"base_url": model_url, "api_key": "scripted", "timeout_s": 3.0, "max_retries": 1},
        "embedding": {"dimension": DIMENSION},
        "relay": {"lease_s": LEASE_S},
        "worker": {"shutdown_timeout_s": 10.0, "log_format": "json", "metadata_refresh_s": 5.0},
    }
