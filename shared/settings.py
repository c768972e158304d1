"""The settings of every service and command, read from the environment or a `.env` file."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, PostgresDsn, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import WrongUseError

SANDBOX_STRIPE_KEY = "sk_test_sandbox"
"""The key that the Stripe sandbox is used with; any other one means Stripe itself."""


class Settings(BaseSettings):
    """One value a field; each is set by ``TALLYBOOK_`` and the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="TALLYBOOK_", env_file=".env", extra="ignore", frozen=True
    )

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://postgres@127.0.0.1:5432/tallybook"),
        description="Postgres; its login must be a member of the service's role",
    )
    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092", description="Kafka brokers, host:port, separated by commas"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="how Kafka is spoken to, by Kafka's own names"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="how the password is proved, where SASL is used"
    )
    kafka_username: str | None = Field(default=None, description="user at Kafka, with SASL")
    kafka_password: SecretStr | None = Field(default=None, description="that user's password")
    kafka_ca_file: Path | None = Field(
        default=None, description="PEM file of whom to trust as Kafka; unset: as the system does"
    )
    kafka_cert_file: Path | None = Field(
        default=None, description="PEM file of the client's certificate, where Kafka asks for one"
    )
    kafka_key_file: Path | None = Field(
        default=None, description="PEM file of its private key; unset: it is in the same file"
    )
    usage_topic: str = Field(default="usage.events", description="topic of the usage events")
    usage_partitions: int = Field(
        default=6, ge=1, description="partitions of the topic when it is made"
    )
    usage_replication: int = Field(
        default=1, ge=1, description="replicas of each partition when the topic is made"
    )
    stripe_api_key: SecretStr = Field(
        default=SecretStr(SANDBOX_STRIPE_KEY), description="Stripe's secret key"
    )
    stripe_webhook_secret: SecretStr | None = Field(
        default=None,
        description="signing secret of the webhook endpoint at Stripe; unset: messages are refused",
    )
    stripe_catch_up_seconds: float = Field(
        default=600,
        gt=0,
        description="how often the invoicer asks Stripe for events that it was not sent",
    )
    stripe_api_base: str | None = Field(
        default=None, description="address of the Stripe sandbox; unset: Stripe itself"
    )
    stripe_calls_per_second: float | None = Field(
        default=None,
        gt=0,
        description="most calls a second that one process makes to Stripe; unset: 100 with a live"
        " key, 25 with a test key, no limit at the sandbox",
    )
    stripe_endpoint_calls_per_second: float | None = Field(
        default=None,
        gt=0,
        description="the same for each endpoint; unset: 25, no limit at the sandbox",
    )
    ingest_url: str = Field(default="http://127.0.0.1:8401", description="where ingest answers")
    rater_url: str = Field(default="http://127.0.0.1:8402", description="where the rater answers")
    invoicer_url: str = Field(
        default="http://127.0.0.1:8403", description="where the invoicer answers"
    )
    producer_key: SecretStr | None = Field(
        default=None, description="API key with which commands send events"
    )
    finance_key: SecretStr | None = Field(
        default=None, description="API key with which the demo asks the rater and the invoicer"
    )
    host: str = Field(default="127.0.0.1", description="address on which a service listens")
    tls_cert_file: Path | None = Field(
        default=None,
        description="PEM file of the services' certificate and chain: they then speak HTTPS only,"
        " TLS 1.3",
    )
    tls_key_file: Path | None = Field(
        default=None, description="PEM file of its private key; unset: it is in the same file"
    )
    ingest_port: int = Field(default=8401, description="port of ingest")
    rater_port: int = Field(default=8402, description="port of the rater")
    invoicer_port: int = Field(default=8403, description="port of the invoicer")
    max_request_bytes: int = Field(
        default=8_000_000, ge=1_000, description="largest body of a request to ingest, in bytes"
    )
    max_request_events: int = Field(
        default=10_000, ge=1, description="most events in one request to ingest"
    )
    max_pending_events: int = Field(
        default=400_000,
        ge=1,
        description="most events that ingest holds for Kafka's ack, each key's at most half",
    )
    key_events_per_second: int | None = Field(
        default=None,
        ge=1,
        description="most events a second that an API key may send to one ingest process,"
        " unless the key says otherwise",
    )
    max_event_age_days: int = Field(
        default=90, ge=1, description="oldest time of an event that ingest accepts, in days"
    )
    max_event_skew_seconds: int = Field(
        default=300, ge=0, description="how far in the future an event's time may lie, in seconds"
    )
    kafka_ack_seconds: float = Field(
        default=10, gt=0, description="how long ingest waits for Kafka's ack of a request"
    )
    rater_batch_records: int = Field(
        default=50_000, ge=1, description="most records in one transaction of the rater"
    )
    rater_instance: str | None = Field(
        default=None,
        description="this rater's fixed name in its group, so that a restart takes over at once",
    )
    approval_by: Literal["nobody", "anyone", "another"] = Field(
        default="nobody",
        description="who must approve a run before it is sent; another: than who started it",
    )
    preview_change_percent: int = Field(
        default=50,
        ge=0,
        description="a preview warns of a total that differs by more from last month's",
    )
    invoicer_workers: int = Field(
        default=24, ge=1, description="how many customers' invoices are sent at once"
    )
    invoice_minimums: str | None = Field(
        default=None,
        description="least total that is sent, by currency, in the place of Stripe's own minimum,"
        " such as `USD=1.00,JPY=100`; less is carried forward, as long as a contract runs",
    )
    days_until_due: int = Field(default=30, ge=0, description="days until an invoice is due")
    close_wait_seconds: float = Field(
        default=300, gt=0, description="how long a close waits for the rater to catch up"
    )
    alerts_seconds: float = Field(
        default=5, gt=0, description="how often the invoicer looks whether thresholds are reached"
    )
    silence_seconds: float = Field(
        default=60, gt=0, description="how often it looks whether a source has fallen silent"
    )
    journal_accounts: Path | None = Field(
        default=None,
        description="YAML file of the journal's account numbers and names; unset: the shipped ones",
    )
    webhook_private_addresses: bool = Field(
        default=False,
        description="whether notices may go to receivers on private addresses, and by http to"
        " this machine",
    )
    notice_retention_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="for how many days notices are kept once all their receivers have them;"
        " 0: for ever",
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="mail server for notices by e-mail: `smtp://USER:PASSWORD@HOST:587` with"
        " STARTTLS, or `smtps://…`; `?tls=off` sends in the clear",
    )
    smtp_from: str = Field(
        default="tallybook@localhost.localdomain", description="sender of notices by e-mail"
    )
    log_json: bool = Field(default=False, description="log lines as JSON")

    def postgres(self) -> str:
        """Give the database address in the form that asyncpg reads."""
        return str(self._database())

    def postgres_host(self) -> str:
        """Give host and port of the database, without the password."""
        hosts = self._database().hosts()
        return ",".join(f"{host['host']}:{host['port'] or 5432}" for host in hosts)

    def _database(self) -> PostgresDsn:
        try:
            return PostgresDsn(self.database_url.get_secret_value())
        except ValidationError:  # its text would show the password
            raise WrongUseError(
                "TALLYBOOK_DATABASE_URL is no address of a Postgres; write"
                " postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None


def explain_settings() -> list[dict[str, str | None]]:
    """List every setting: its variable, value (secrets masked), source and meaning."""
    settings = Settings()
    rows: list[dict[str, str | None]] = []
    for name, field in Settings.model_fields.items():
        variable = f"TALLYBOOK_{name.upper()}"
        value = getattr(settings, name)
        given = name in settings.model_fields_set
        source = "environment" if variable in os.environ else ".env" if given else "default"
        rows.append(
            {
                "variable": variable,
                "value": None if value is None else str(value),
                "source": source,
                "meaning": field.description,
            }
        )
    return rows
