"""Settings come from the environment, and their secrets are never shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import WrongUseError
from shared.settings import Settings, explain_settings

PASSWORD = "open-sesame"
VARIABLES = {
    "TALLYBOOK_DATABASE_URL": f"postgresql://books:{PASSWORD}@db.example:6432/books",
    "TALLYBOOK_STRIPE_API_KEY": f"key-{PASSWORD}",
    "TALLYBOOK_PRODUCER_KEY": f"producer-{PASSWORD}",
    "TALLYBOOK_FINANCE_KEY": f"finance-{PASSWORD}",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TALLYBOOK_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _secrets_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_secrets_set")
def test_no_secret_is_shown() -> None:
    settings = Settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json(), explain_settings()):
        assert PASSWORD not in str(shown)


@pytest.mark.usefixtures("_secrets_set")
def test_a_secret_can_be_used() -> None:
    settings = Settings()
    assert settings.postgres() == VARIABLES["TALLYBOOK_DATABASE_URL"]
    assert settings.postgres_host() == "db.example:6432"
    assert settings.stripe_api_key.get_secret_value() == VARIABLES["TALLYBOOK_STRIPE_API_KEY"]


def test_a_database_address_that_is_wrong_is_not_shown_with_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TALLYBOOK_DATABASE_URL", f"mysql://books:{PASSWORD}@db/books")
    for ask in (Settings().postgres, Settings().postgres_host):
        with pytest.raises(WrongUseError, match="TALLYBOOK_DATABASE_URL") as caught:
            ask()
        assert PASSWORD not in str(caught.value)


def test_the_environment_goes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("TALLYBOOK_INGEST_PORT=1\nTALLYBOOK_RATER_PORT=2\n")
    monkeypatch.setenv("TALLYBOOK_INGEST_PORT", "3")
    settings = Settings()
    assert (settings.ingest_port, settings.rater_port) == (3, 2)
    sources = {row["variable"]: row["source"] for row in explain_settings()}
    assert sources["TALLYBOOK_INGEST_PORT"] == "environment"
    assert sources["TALLYBOOK_RATER_PORT"] == ".env"
    assert sources["TALLYBOOK_INVOICER_PORT"] == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("usage_partitions", "0"),
        ("max_request_events", "none"),
        ("max_event_skew_seconds", "-1"),
        ("kafka_ack_seconds", "0"),
        ("days_until_due", "-1"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TALLYBOOK_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().ingest_port = 1  # type: ignore[misc]  # what is tested


def test_every_setting_says_what_it_is_for() -> None:
    assert all(row["meaning"] for row in explain_settings())
