"""``python -m tests.links``: every Markdown link of the repository leads somewhere.

Files and anchors are looked up; of an address elsewhere only the form is checked (https), as
a check that needs the network would fail for reasons that are not ours.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_CODE = re.compile(r"(`+)(?:.+?)\1")
_INLINE = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^)\s>]*)>?(?:\s+[\"'][^)]*)?\)")
_DEFINED = re.compile(r"^ {0,3}\[([^\]]+)\]:\s*<?(\S+?)>?(?:\s+[\"'].*)?$")
_USED = re.compile(r"\[[^\[\]]+\]\[([^\[\]]+)\]")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")


@dataclass(frozen=True, slots=True)
class Broken:
    """A link that leads nowhere: in which file, on which line, where to, and why not."""

    file: Path
    line: int
    target: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.target}: {self.reason}"


def markdown_files(root: Path) -> list[Path]:
    """List the Markdown files under version control, and those not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(root / name for name in listed.split("\0") if name and (root / name).exists())


def broken_links(file: Path, root: Path) -> list[Broken]:
    """Give the links of a file that lead nowhere."""
    found = []
    for line, target in _links(file):
        reason = _fault(file, target, root)
        if reason is not None:
            found.append(Broken(file.relative_to(root), line, target, reason))
    return found


def _prose(file: Path) -> Iterator[tuple[int, str]]:
    """Give the lines outside code blocks, numbered from 1."""
    fence: str | None = None
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        mark = _FENCE.match(line)
        if fence is None and mark is None:
            yield number, line
        elif fence is None and mark is not None:
            fence = mark[1]
        elif fence is not None and mark is not None and mark[1].startswith(fence):
            fence = None


def _links(file: Path) -> Iterator[tuple[int, str]]:
    lines = [(number, _CODE.sub("", line)) for number, line in _prose(file)]
    defined = {found[1].lower() for _, line in lines if (found := _DEFINED.match(line))}
    for number, line in lines:
        if definition := _DEFINED.match(line):
            yield number, definition[2]
            continue
        for inline in _INLINE.finditer(line):
            yield number, inline[1]
        for used in _USED.finditer(line):
            if used[1].lower() not in defined:
                yield number, f"[{used[1]}]"


def _fault(file: Path, target: str, root: Path) -> str | None:
    """Say why a link leads nowhere; None where it is fine."""
    if target.startswith("["):
        return "this name is not defined in the file"
    parts = urlsplit(target)
    if parts.scheme == "mailto":
        return None
    if parts.scheme or parts.netloc:
        fine = parts.scheme == "https" and "." in parts.netloc
        return None if fine else "write an address elsewhere as https://host/…"
    if not parts.path and not parts.fragment:
        return "it is empty"
    if parts.path.startswith("/"):
        return "write the path relative to the file"
    place = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
    if not place.is_relative_to(root.resolve()):
        return "it leaves the repository"
    if not place.exists():
        return "there is no such file"
    if parts.fragment and place.suffix == ".md" and parts.fragment not in anchors(place):
        return "the file has no such heading"
    return None


def anchors(file: Path) -> set[str]:
    """Give the anchors of a file, as forges make them of headings."""
    found: set[str] = set()
    seen: dict[str, int] = {}
    for _, line in _prose(file):
        found.update(_ANCHOR.findall(line))
        heading = _HEADING.match(line)
        if heading is None:
            continue
        slug = _slug(heading[1])
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def main() -> int:
    """Check all files; give the exit status."""
    files = markdown_files(ROOT)
    broken = [one for file in files for one in broken_links(file, ROOT)]
    for one in broken:
        sys.stderr.write(f"{one}\n")
    sys.stdout.write(f"{len(files)} Markdown files, {len(broken)} dead links\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
