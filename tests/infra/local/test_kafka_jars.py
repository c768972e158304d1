"""Kafka's jars: what is pinned is used, and nothing else."""

import hashlib
import re
from pathlib import Path

import pytest

from infra.local import kafka_jars
from infra.local.errors import JarError
from infra.local.kafka_jars import KAFKA, Jar, kafka_class_path, locked_jars, missing_jars

_CONTENT = {"one": b"the first jar", "two": b"the second jar"}


def _lock(directory: Path) -> Path:
    lines = [
        f"org.example:{name}:1.0 {hashlib.sha256(content).hexdigest()}\n"
        for name, content in _CONTENT.items()
    ]
    path = directory / "jars.lock"
    path.write_text("# a comment\n" + "".join(lines), encoding="utf-8")
    return path


class Repository:
    """Stands where jars are fetched from; counts, and hands out what it is told to."""

    def __init__(self) -> None:
        self.content = dict(_CONTENT)
        self.asked: list[str] = []
        self.failures = 0

    def fetch(self, jar: Jar, path: Path) -> None:
        self.asked.append(jar.artifact)
        if self.failures:
            self.failures -= 1
            raise OSError("connection reset")
        content = self.content[jar.artifact]
        if hashlib.sha256(content).hexdigest() != jar.sha256:
            raise JarError(f"{jar.artifact} is not the jar that is pinned")
        path.write_bytes(content)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty cache, a lock of two small jars, and where they come from."""
    made = Repository()
    monkeypatch.setenv("TALLYBOOK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kafka_jars, "LOCK", _lock(tmp_path))
    monkeypatch.setattr(kafka_jars, "_fetch", made.fetch)
    return made


def test_the_lock_pins_kafka_and_what_it_needs_by_hash() -> None:
    jars = locked_jars()
    assert KAFKA in {(jar.group, jar.artifact, jar.version) for jar in jars}
    assert len({jar.artifact for jar in jars}) == len(jars)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars)


def test_jars_are_fetched_once(repository: Repository) -> None:
    assert [jar.artifact for jar in missing_jars()] == ["one", "two"]
    told: list[tuple[int, int]] = []
    paths = kafka_class_path(lambda done, total: told.append((done, total)))
    assert [path.read_bytes() for path in paths] == list(_CONTENT.values())
    assert told == [(1, 2), (2, 2)]
    assert missing_jars() == []
    assert kafka_class_path() == paths
    assert sorted(repository.asked) == ["one", "two"]


def test_a_jar_that_was_tampered_with_is_fetched_again(repository: Repository) -> None:
    first, second = kafka_class_path()
    first.write_bytes(first.read_bytes() + b"!")
    assert kafka_class_path() == [first, second]
    assert first.read_bytes() == _CONTENT["one"]
    assert repository.asked.count("one") == 2
    assert repository.asked.count("two") == 1


def test_a_jar_that_is_not_the_pinned_one_is_never_used(repository: Repository) -> None:
    repository.content["two"] = b"something else"
    with pytest.raises(JarError, match="two is not the jar that is pinned"):
        kafka_class_path()
    assert [jar.artifact for jar in missing_jars()] == ["two"]
    assert repository.asked.count("two") == 1, "another try would give the same jar"


def test_a_fetch_that_fails_is_tried_again(repository: Repository) -> None:
    repository.failures = 2
    assert len(kafka_class_path()) == 2


def test_a_jar_that_cannot_be_had_says_what_to_do(repository: Repository) -> None:
    repository.failures = 100
    with pytest.raises(JarError, match=r"could not be fetched \(OSError\); check that"):
        kafka_class_path()


def test_a_fetched_file_is_checked_before_it_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real fetch, with a resolver that hands out another file than the pinned one."""
    wrong = tmp_path / "wrong.jar"
    wrong.write_bytes(b"not what was asked for")

    class Resolver:
        def __init__(self, **_: object) -> None:
            pass

        def project(self, _group: str, _artifact: str) -> "Resolver":
            return self

        def at_version(self, _version: str) -> "Resolver":
            return self

        def artifact(self) -> "Resolver":
            return self

        def resolve(self) -> Path:
            return wrong

    monkeypatch.setattr(kafka_jars, "MavenContext", Resolver)
    monkeypatch.setenv("TALLYBOOK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kafka_jars, "LOCK", _lock(tmp_path))
    with pytest.raises(JarError, match="was fetched, but is not the jar that is pinned"):
        kafka_class_path()
    assert list((tmp_path / "cache" / "kafka").iterdir()) == []
