"""docker-compose.yml: valid, complete, pinned, and reachable from this machine only."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.kafka_jars import KAFKA
from services.invoicer.notifying.transport.mail import read_server
from shared.settings import SANDBOX_STRIPE_KEY, Settings
from tests.house.repository import ROOT, text_of

COMPOSE: dict[str, Any] = yaml.safe_load(text_of("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, str] = COMPOSE["x-settings"]
OURS = ("stripe", "migrate", "ingest", "rater", "invoicer")
ONE_SHOT = "migrate"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-+])([^}]*))?\}")


def _filled_in(text: str, **variables: str) -> str:
    """Fill in variables as Compose does: ``${V}``, ``${V:-default}``, ``${V:+replacement}``."""

    def value(found: re.Match[str]) -> str:
        given = variables.get(found[1], "")
        if found[2] == "+":
            return found[3] if given else ""
        return given or found[3] or ""

    return _VARIABLE.sub(value, text)


def test_it_follows_the_compose_specification() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    file = ROOT / "docker-compose.yml"
    checked = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_has_all_parts() -> None:
    assert set(SERVICES) == {"postgres", "kafka", *OURS}


def test_every_setting_that_it_names_is_one() -> None:
    known = {f"TALLYBOOK_{name.upper()}" for name in Settings.model_fields}
    named = {
        name
        for service in SERVICES.values()
        for name in service.get("environment", {})
        if name.startswith("TALLYBOOK_")
    }
    assert named
    assert named <= known


def test_its_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, _filled_in(value))
    settings = Settings(_env_file=None)
    assert settings.kafka_bootstrap_servers == "kafka:19092"
    assert settings.postgres_host() == "postgres:5432"


def test_mail_is_sent_once_there_is_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, _filled_in(value))
    assert read_server(Settings(_env_file=None)) is None
    given = SETTINGS["TALLYBOOK_SMTP_URL"]
    monkeypatch.setenv("TALLYBOOK_SMTP_URL", _filled_in(given, SMTP_URL="smtps://mail.example"))
    server = read_server(Settings(_env_file=None))
    assert server is not None
    assert (server.host, server.tls) == ("mail.example", "smtps")


def test_without_a_stripe_key_invoices_go_to_the_sandbox() -> None:
    assert _filled_in(SETTINGS["TALLYBOOK_STRIPE_API_KEY"]) == SANDBOX_STRIPE_KEY
    base = _filled_in(SETTINGS["TALLYBOOK_STRIPE_API_BASE"])
    aliases = SERVICES["stripe"]["networks"]["default"]["aliases"]
    assert base.removeprefix("http://") in aliases
    assert "--port=80" in SERVICES["stripe"]["command"]


def test_with_a_stripe_key_they_go_to_stripe() -> None:
    key = "rk_" + "anything"
    assert _filled_in(SETTINGS["TALLYBOOK_STRIPE_API_KEY"], STRIPE_API_KEY=key) == key
    base = _filled_in(SETTINGS["TALLYBOOK_STRIPE_API_BASE"], STRIPE_API_KEY=key)
    assert base == "https://api.stripe.com"


def test_every_variable_has_a_default() -> None:
    for found in _VARIABLE.finditer(text_of("docker-compose.yml")):
        assert found[2] in ("-", "+"), f"{found[0]} has no default"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {ONE_SHOT}))
def test_every_service_has_a_health_check_and_comes_back(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check["interval"]
    assert check["timeout"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ["ingest", "rater", "invoicer"])
def test_a_services_check_asks_it_at_its_own_port_whether_it_is_ready(name: str) -> None:
    port = Settings.model_fields[f"{name}_port"].default
    assert f"http://127.0.0.1:{port}/health/ready" in SERVICES[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["ingest", "rater", "invoicer"])
def test_services_start_after_the_database_and_the_topic_are_ready(name: str) -> None:
    waits_for = SERVICES[name]["depends_on"]
    assert waits_for["migrate"]["condition"] == "service_completed_successfully"
    assert waits_for["postgres"]["condition"] == "service_healthy"
    assert waits_for["kafka"]["condition"] == "service_healthy"


def test_database_and_topic_are_made_once_both_servers_are_healthy() -> None:
    migrate = SERVICES[ONE_SHOT]
    assert {one["condition"] for one in migrate["depends_on"].values()} == {"service_healthy"}
    assert migrate["command"] == ["tallybook migrate && tallybook topics"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned_to_a_release(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")
    assert re.match(r"\d+\.\d+", tag)


def test_kafka_is_the_release_that_the_embedded_stack_runs() -> None:
    assert SERVICES["kafka"]["image"].endswith(f":{KAFKA[2]}")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_privileges(name: str) -> None:
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]
    assert "privileged" not in SERVICES[name]


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("postgres", "/var/lib/postgresql"),
        ("kafka", "/var/lib/kafka/data"),
        ("stripe", "/var/lib/tallybook"),
    ],
)
def test_what_must_outlive_a_container_is_on_a_named_volume(name: str, directory: str) -> None:
    assert SERVICES[name]["volumes"] == [f"{name}:{directory}"]
    assert name in COMPOSE["volumes"]


def test_kafka_writes_to_its_volume() -> None:
    assert SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
