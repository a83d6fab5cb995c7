"""Apache Kafka as one KRaft node on 127.0.0.1: formatted once, its data kept, gone when memostream goes."""

import asyncio
import base64
import contextlib
import json
import signal
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from embedded.jars import KAFKA_VERSION, classpath
from embedded.java import java_command
from embedded.process import ServiceProcess, log_tail, run_to_end, spawn
from schemas.errors import ConfigurationError

HOST = "127.0.0.1"
HEAP_MB = 512
STOP_GRACE_S = 15.0
START_TIMEOUT_S = 90.0
_POLL_S = 0.05
_START_ATTEMPTS = 3
_PORT_TAKEN = "BindException"
_LOG_CONFIGURATION = Path(__file__).with_name("log4j2.xml")

# What one small node needs, and where Kafka's defaults are made for three large ones.
_DEFAULT_PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(4 * 1024 * 1024),
    # A worker that is killed must be missed after seconds, not after Kafka's minimum of six.
    "group.min.session.timeout.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A quarter of the heap would go to the log cleaner otherwise.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
}


@dataclass(frozen=True, slots=True)
class ClusterMember:
    """One of several brokers that know each other; every one is a controller, too. Ports are by node id."""

    node_id: int
    cluster_id: str
    broker_ports: Mapping[int, int]
    controller_ports: Mapping[int, int]

    @property
    def ports(self) -> tuple[int, int]:
        """(broker, controller) of this one."""
        return self.broker_ports[self.node_id], self.controller_ports[self.node_id]

    @property
    def properties(self) -> Mapping[str, str]:
        """What the others are known by."""
        voters = (f"{node}@{HOST}:{port}" for node, port in sorted(self.controller_ports.items()))
        return {"node.id": str(self.node_id), "controller.quorum.voters": ",".join(voters)}


class EmbeddedKafka:
    """One broker in one folder. It may be stopped, killed and started again, and keeps its address.

    As a `member` of a cluster it answers once enough of the others run, so start them side by side.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        properties: Mapping[str, str] | None = None,
        cache_dir: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
        heap_mb: int = HEAP_MB,
        member: ClusterMember | None = None,
        java_options: Sequence[str] = (),
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._folder = data_dir.absolute()
        self._properties = {**(member.properties if member is not None else {}), **(properties or {})}
        self._heap_mb = heap_mb
        self._java_options = java_options
        self._stop_grace_s = stop_grace_s
        self._member = member
        self._cache_dir = cache_dir
        self._progress = progress
        self._process: ServiceProcess | None = None
        self._ports: tuple[int, int] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:port`; the port is chosen by the first `start`."""
        if self._ports is None:
            raise ConfigurationError("the embedded broker has not been started")
        return f"{HOST}:{self._ports[0]}"

    @property
    def pid(self) -> int | None:
        """The broker's process, for tests that freeze it; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.running else None

    @property
    def log_file(self) -> Path:
        return self._folder / "logs" / "server.log"

    async def start(self) -> None:
        """Return when the broker answers clients; if it does not, ConfigurationError has the log's end."""
        if self.pid is not None:
            return
        (self._folder / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
        jars = await asyncio.to_thread(classpath, cache_dir=self._cache_dir, progress=self._progress)
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._ports = choose_ports(self._folder / "ports.json") if self._member is None else self._member.ports
            await asyncio.to_thread(self._configure, jars)
            self._progress(f"Starting Apache Kafka {KAFKA_VERSION}")
            self._process = await spawn(
                "Kafka",
                [*self._java(jars, self._java_options), "kafka.Kafka", str(self._properties_file)],
                lock_file=self._folder / "process.lock",
                log_file=self._console_log,
                stop_signal=signal.SIGTERM,
                grace_s=self._stop_grace_s,
            )
            try:
                if await self._answers():
                    self._progress(f"Kafka is up at {self.bootstrap_servers}")
                    return
            except asyncio.CancelledError:
                await self.stop()
                raise
            # Somebody may take a free port between our look and Kafka's bind.
            port_taken = _PORT_TAKEN in log_tail(self._console_log) or _PORT_TAKEN in log_tail(self.log_file)
            await self.stop()
            if not port_taken or attempt == _START_ATTEMPTS:
                break
        raise ConfigurationError(
            f"Kafka did not start. The end of its logs in {self.log_file.parent}:\n"
            f"{log_tail(self._console_log)}\n{log_tail(self.log_file)}"
        )

    async def stop(self) -> None:
        """A graceful stop: logs are closed and nothing needs recovery; killed after a grace."""
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def kill(self) -> None:
        """SIGKILL, as a crash would; `start` recovers."""
        if self._process is not None:
            await self._process.kill()
            self._process = None

    @property
    def _properties_file(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _console_log(self) -> Path:
        return self._folder / "logs" / "console.log"

    def _java(self, jars: Sequence[Path], options: Sequence[str] = ()) -> list[str]:
        return [
            *java_command(jars, heap_mb=self._heap_mb, options=options),
            f"-Dlog4j2.configurationFile={_LOG_CONFIGURATION.as_uri()}",
            f"-Dmemostream.log.dir={self.log_file.parent}",
        ]

    def _configure(self, jars: Sequence[Path]) -> None:
        """Write the properties anew (ports may have changed) and format the data folder once."""
        assert self._ports is not None
        broker_port, controller_port = self._ports
        data = self._folder / "data"
        properties = {
            **_DEFAULT_PROPERTIES,
            "listeners": f"PLAINTEXT://{HOST}:{broker_port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{broker_port}",
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": str(data),
            **self._properties,
        }
        self._properties_file.write_text(
            "".join(f"{key}={_escape(value)}\n" for key, value in properties.items()), encoding="latin-1"
        )
        if not (data / "meta.properties").exists():
            self._progress("Preparing Kafka's data folder")
            cluster_id = new_cluster_id() if self._member is None else self._member.cluster_id
            arguments = ["--cluster-id", cluster_id, "--config", str(self._properties_file), "--ignore-formatted"]
            run_to_end([*self._java(jars), "kafka.tools.StorageTool", "format", *arguments], cwd=self._folder)

    async def _answers(self) -> bool:
        """Whether a client sees the broker before the time-out, and before the process ends."""
        assert self._process is not None
        assert self._ports is not None
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while self._process.running and asyncio.get_running_loop().time() < deadline:
            if await _is_open(self._ports[0]) and await _has_brokers(self.bootstrap_servers):
                return True
            await asyncio.sleep(_POLL_S)
        return False


def choose_ports(remembered: Path) -> tuple[int, int]:
    """(broker, controller): last time's while they are free, for people note addresses; else new ones."""
    if remembered.exists():
        broker, controller = json.loads(remembered.read_text(encoding="utf-8"))
        if _is_free(broker) and _is_free(controller):
            return broker, controller
    with socket.socket() as first, socket.socket() as second:
        first.bind((HOST, 0))
        second.bind((HOST, 0))
        ports = (int(first.getsockname()[1]), int(second.getsockname()[1]))
    remembered.write_text(json.dumps(ports), encoding="utf-8")
    return ports


def new_cluster_id() -> str:
    """A UUID in URL-safe base64, without a leading dash, which Kafka's tool would read as an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


def _escape(value: str) -> str:
    """Java's .properties form: backslashes doubled, everything outside Latin-1 as \\uXXXX."""
    escaped = value.replace("\\", "\\\\")
    units = escaped.encode("utf-16-be")
    pairs = (int.from_bytes(units[index : index + 2], "big") for index in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 0x80 else f"\\u{unit:04x}" for unit in pairs)


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # As Java does: a port whose last connections linger in TIME_WAIT is free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _has_brokers(bootstrap_servers: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()
