"""Settings for a test, of which none comes from the shell or a file. I/O: looks for free ports."""

import os
from typing import Any

from pydantic import SecretStr

from shared.settings import Settings
from tests.integration.harness.ports import free_port

PARTITIONS = 3


def environment_for(settings: Settings) -> dict[str, str]:
    """Write settings as a process's environment, without any other setting of this shell."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TALLYBOOK_", "OTEL_"))
    }
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            variables[f"TALLYBOOK_{name.upper()}"] = str(value)
    return variables


def settings_for(database_url: str, kafka: str, topic: str) -> Settings:
    """Make settings of which none comes from the environment or a file."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    ports = {name: free_port() for name in ("ingest", "rater", "invoicer")}
    given: dict[str, Any] = {
        **defaults,
        "database_url": SecretStr(database_url),
        "kafka_bootstrap_servers": kafka,
        "usage_topic": topic,
        "usage_partitions": PARTITIONS,
        "stripe_api_base": f"http://127.0.0.1:{free_port()}",
        **{f"{name}_port": port for name, port in ports.items()},
        **{f"{name}_url": f"http://127.0.0.1:{port}" for name, port in ports.items()},
    }
    return Settings(_env_file=None, **given)
