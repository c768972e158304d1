"""Secrets of one data directory, in a file that only its owner may read. I/O: that file."""

import json
import os
from pathlib import Path


class Credentials:
    """The secrets kept in a data directory, by name."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "credentials.json"

    def get(self, name: str) -> str | None:
        """Give a secret, None where it was never kept."""
        return self._read().get(name)

    def keep(self, name: str, secret: str) -> None:
        """Write a secret down, whole or not at all."""
        kept = {**self._read(), name: secret}
        partial = self._path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        partial.replace(self._path)

    def _read(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        return {str(k): str(v) for k, v in json.loads(self._path.read_text("utf-8")).items()}
