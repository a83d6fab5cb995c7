"""A cluster of embedded brokers, each a controller, too: any of them may be killed and started again."""

import asyncio
import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from embedded.kafka import HOST, ClusterMember, EmbeddedKafka, new_cluster_id

HEAP_MB: Final = 320
# Below where the system takes ports for outgoing connections from: the port of a broker that is down stays free.
PORTS: Final = range(15000, 30000)


def replication(brokers: int) -> Mapping[str, str]:
    """Kafka's own topics, and ours, survive one broker where there are three; a dead one is missed after seconds."""
    copies, in_sync = (3, 2) if brokers > 2 else (1, 1)
    return {
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(in_sync),
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync),
        "broker.session.timeout.ms": "4000",
        # A machine with more to do than it can starts a broker slowly.
        "initial.broker.registration.timeout.ms": "300000",
        "broker.heartbeat.interval.ms": "500",
    }


class KafkaCluster:
    """Brokers by node id, from 1. The addresses stay the same over every restart."""

    def __init__(self, folder: Path, brokers: int) -> None:
        self._folder = folder
        nodes = range(1, brokers + 1)
        ports = _free_ports(2 * brokers)
        broker_ports = dict(zip(nodes, ports[:brokers], strict=True))
        controller_ports = dict(zip(nodes, ports[brokers:], strict=True))
        cluster_id = new_cluster_id()
        self.brokers: Mapping[int, EmbeddedKafka] = {
            node: EmbeddedKafka(
                folder / f"broker-{node}",
                properties=replication(brokers),
                heap_mb=HEAP_MB,
                member=ClusterMember(node, cluster_id, broker_ports, controller_ports),
            )
            for node in nodes
        }
        self.bootstrap_servers = ",".join(f"{HOST}:{port}" for port in broker_ports.values())

    async def start(self) -> None:
        await asyncio.gather(*(broker.start() for broker in self.brokers.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(broker.stop() for broker in self.brokers.values()))

    def controller(self) -> int:
        """The node that leads the controllers, by what they have last written down of their elections."""
        epochs: dict[int, int] = {}
        for node in self.brokers:
            file = self._folder / f"broker-{node}" / "data" / "__cluster_metadata-0" / "quorum-state"
            if file.exists():
                state = json.loads(file.read_text(encoding="utf-8"))
                epochs[state["leaderEpoch"]] = max(epochs.get(state["leaderEpoch"], -1), state["leaderId"])
        leader = epochs[max(epochs)]
        # While an election is open nobody leads.
        return leader if leader in self.brokers else min(self.brokers)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(PORTS, k=len(PORTS)):
        with socket.socket() as candidate:
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} ports of {PORTS.start} to {PORTS.stop} are free")
