"""Kafka's own jars: pinned in `kafka-jars.lock`, fetched once, their hashes checked.

``python -m infra.local.kafka_jars`` writes the lock anew from `KAFKA`, resolving what it
depends on with jgo, in pure Python.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.maven import MavenContext, Model, PythonResolver

from infra.local.cache import cache_directory
from infra.local.errors import JarError

KAFKA = ("org.apache.kafka", "kafka_2.13", "4.1.1")
LOCK = Path(__file__).with_name("kafka-jars.lock")

_DOWNLOADS = 8
_TRIES = 3
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Jar:
    """A jar that Kafka needs: its Maven coordinates and the SHA-256 of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache; the hash keeps different jars apart."""
        return f"{self.artifact}-{self.version}-{self.sha256[:12]}.jar"


def locked_jars() -> list[Jar]:
    """Read the lock file: a jar a line, ``group:artifact:version sha256``."""
    jars = []
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def missing_jars() -> list[Jar]:
    """Give the jars that are not in the cache yet."""
    directory = _directory()
    return [jar for jar in locked_jars() if not (directory / jar.file_name).exists()]


def kafka_class_path(on_progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Give the paths of all jars, fetching those that are missing and checking every hash.

    `on_progress` is told how many of how many are there, if any is missing. Raises
    `JarError` with what to do.
    """
    jars = locked_jars()
    directory = _directory()
    missing = missing_jars()
    paths = []
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        for done, path in enumerate(pool.map(lambda jar: _have(jar, directory), jars), 1):
            paths.append(path)
            if missing and on_progress is not None:
                on_progress(done, len(jars))
    return paths


def _directory() -> Path:
    directory = cache_directory() / "kafka"
    directory.mkdir(exist_ok=True)
    return directory


def _have(jar: Jar, directory: Path) -> Path:
    path = directory / jar.file_name
    if path.exists():
        if _sha256(path) == jar.sha256:
            return path
        path.unlink()  # damaged since: fetch it again
    reasons = []
    for _ in range(_TRIES):
        try:
            _fetch(jar, path)
        except JarError:
            raise
        except (OSError, RuntimeError) as error:
            reasons.append(type(error).__name__)
        else:
            return path
    raise JarError(
        f"{jar.artifact} {jar.version} could not be fetched ({reasons[-1]}); check that this"
        " machine reaches the Maven repository, then start again: what was fetched is kept"
    )


def _fetch(jar: Jar, path: Path) -> None:
    """Fetch a jar into a directory of its own and move it into place once its hash is right."""
    with tempfile.TemporaryDirectory(dir=path.parent) as workplace:
        context = MavenContext(
            resolver=PythonResolver(), repo_cache=Path(workplace), timeout=_SECONDS
        )
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        fetched = Path(component.artifact().resolve())
        if _sha256(fetched) != jar.sha256:
            raise JarError(
                f"{jar.artifact} {jar.version} was fetched, but is not the jar that is pinned"
                " in kafka-jars.lock; it was not used"
            )
        partial = path.with_suffix(f".{os.getpid()}")
        shutil.copyfile(fetched, partial)
        partial.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lock() -> int:
    """Resolve Kafka's dependencies and write the lock file; gives the number of jars."""
    group, artifact, version = KAFKA
    with tempfile.TemporaryDirectory() as workplace:
        context = MavenContext(
            resolver=PythonResolver(), repo_cache=Path(workplace), timeout=_SECONDS
        )
        component = context.project(group, artifact).at_version(version)
        dependencies, _ = Model(component.pom(), context).dependencies()
        needed = [d.artifact for d in dependencies if d.scope in ("compile", "runtime")]
        lines = [
            f"{one.groupId}:{one.artifactId}:{one.version} {_sha256(Path(one.resolve()))}"
            for one in (component.artifact(), *needed)
        ]
    head = f"# Written by python -m infra.local.kafka_jars for {artifact} {version}.\n"
    LOCK.write_text(head + "\n".join(sorted(lines)) + "\n", encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    write_lock()
