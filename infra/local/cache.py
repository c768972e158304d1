"""Where what was downloaded once is kept."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Give ``TALLYBOOK_CACHE_DIR``, or ``tallybook`` in the user's cache; made if missing."""
    named = os.environ.get("TALLYBOOK_CACHE_DIR")
    if named:
        directory = Path(named)
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        directory = (Path(base) if base else Path.home() / ".cache") / "tallybook"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
