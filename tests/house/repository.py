"""Where the repository is, and which files it has."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def repository_files() -> list[Path]:
    """List the files under version control, and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(
        path for name in set(listed.split("\0")) if name and (path := ROOT / name).is_file()
    )


def text_of(name: str) -> str:
    """Read a file of the repository, named from its root."""
    return (ROOT / name).read_text(encoding="utf-8")


def documents() -> list[Path]:
    """List the documents for readers: README.md, CONTRIBUTING.md and all of docs/."""
    own = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return own + sorted((ROOT / "docs").rglob("*.md"))
