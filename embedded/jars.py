"""The broker's jars: pinned by coordinate and SHA-256, downloaded once, checked at every start."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from schemas.errors import ConfigurationError

KAFKA_VERSION = "4.1.1"
CACHE_VARIABLE = "MEMOSTREAM_EMBEDDED_CACHE"
LOCK_FILE = Path(__file__).with_name("kafka_jars.sha256")
_DOWNLOADS_AT_A_TIME = 8
_DOWNLOAD_TIMEOUT_S = 30
# Before each other try of a file.
_WAITS_S = (1.0, 3.0, 9.0)


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def default_cache_dir() -> Path:
    """`MEMOSTREAM_EMBEDDED_CACHE` if set, else a folder in the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("memostream")


def read_lock(path: Path = LOCK_FILE) -> list[Jar]:
    """Raises ConfigurationError on a line that is not `sha256  group:artifact:version`."""
    jars = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        sha256, _, coordinate = line.partition("  ")
        parts = coordinate.split(":")
        if len(sha256) != 64 or len(parts) != 3:
            raise ConfigurationError(f"{path.name}: not a sum and a coordinate: {line!r}")
        jars.append(Jar(parts[0], parts[1], parts[2], sha256))
    return jars


def check_jar(path: Path, jar: Jar) -> None:
    """Raise ConfigurationError, naming the jar, unless the file's SHA-256 is the locked one."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise ConfigurationError(
            f"{jar.file_name} is not the file that memostream was tested with: its SHA-256 is {found}, "
            f"expected {jar.sha256}. It was not used. Remove {path} to download it again."
        )


def classpath(
    *, cache_dir: Path | None = None, jars: Sequence[Jar] | None = None, progress: Callable[[str], None]
) -> list[Path]:
    """The broker's jars, each one downloaded if it is missing and checked against its sum. Blocking.

    Raises ConfigurationError for a wrong sum, and when a jar cannot be had.
    """
    folder = (cache_dir or default_cache_dir()) / f"kafka-{KAFKA_VERSION}"
    wanted = read_lock() if jars is None else list(jars)
    missing = [jar for jar in wanted if not (folder / jar.file_name).exists()]
    if missing:
        progress(f"Downloading Apache Kafka {KAFKA_VERSION} ({len(missing)} jars, about 43 MB, once) into {folder}")
        _download(missing, folder, progress)
    paths = [folder / jar.file_name for jar in wanted]
    for path, jar in zip(paths, wanted, strict=True):
        check_jar(path, jar)
    return paths


def maven_context(repo_cache: Path) -> MavenContext:
    """Maven Central, or what the user's jgo settings name in its place (a company mirror)."""
    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repo_cache, remote_repos=repositories, timeout=_DOWNLOAD_TIMEOUT_S)


def _resolved(context: MavenContext, jar: Jar) -> Path:
    for wait_s in _WAITS_S:
        try:
            return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        # A name that is not resolved, a connection that is cut: with 46 files one of them meets it.
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(wait_s)
    return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()


def _download(jars: Sequence[Jar], folder: Path, progress: Callable[[str], None]) -> None:
    """Only checked, complete files reach the folder: an interrupted download leaves nothing in the way."""
    folder.mkdir(parents=True, exist_ok=True)
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder))
    context = maven_context(incoming)

    def fetch(jar: Jar) -> None:
        path = _resolved(context, jar)
        check_jar(path, jar)
        path.replace(folder / jar.file_name)

    try:
        with ThreadPoolExecutor(_DOWNLOADS_AT_A_TIME) as pool:
            for done, _ in enumerate(pool.map(fetch, jars), start=1):
                if done % 10 == 0 or done == len(jars):
                    progress(f"  {done} of {len(jars)} jars downloaded and checked")
    except (requests.RequestException, RuntimeError) as error:
        # jgo raises RuntimeError when no repository has the file.
        raise ConfigurationError(
            f"Kafka's jars could not be downloaded: {error}. Behind a proxy set HTTPS_PROXY; name a mirror "
            f"in jgo's settings; without a network copy the jars to {folder}; or use a broker of your own."
        ) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
