"""Write kafka_jars.sha256 anew: resolve the broker with jgo, download every jar, record what came.

Run it by hand to move to another Kafka version (`python -m embedded.lock_jars`); review reads the difference.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from embedded.jars import KAFKA_VERSION, LOCK_FILE, maven_context

# Kafka logs through slf4j; without this binding it would write no log at all, only warnings.
LOG_BINDING = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3")
_SCOPES = ("compile", "runtime", None)


def lock_lines(repo_cache: Path) -> list[str]:
    """`sha256  group:artifact:version`, sorted by coordinate."""
    context = maven_context(repo_cache)
    root = context.create_dependency(f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}")
    named, transitive = context.resolver.resolve([root])
    artifacts = [d.artifact for d in [*named, *(d for d in transitive if d.scope in _SCOPES)]]
    group, name, version = LOG_BINDING
    artifacts.append(context.project(group, name).at_version(version).artifact())
    lines = {}
    for artifact in artifacts:
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        lines[coordinate] = f"{hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()}  {coordinate}"
    return [lines[coordinate] for coordinate in sorted(lines)]


def main() -> None:
    header = [line for line in LOCK_FILE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    with tempfile.TemporaryDirectory() as repo_cache:
        lines = lock_lines(Path(repo_cache))
    LOCK_FILE.write_text("\n".join([*header, *lines]) + "\n", encoding="utf-8")
    sys.stdout.write(f"{LOCK_FILE.name}: {len(lines)} jars\n")


if __name__ == "__main__":
    main()
