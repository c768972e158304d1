"""The check of links itself: it finds what is dead, and leaves alone what is not."""

from pathlib import Path

import pytest

from tests.links import ROOT, anchors, broken_links, markdown_files


def _faults(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "other.md").write_text("# Big title\n\n## A part: `code` & more\n", "utf-8")
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    return [f"{one.line} {one.target}" for one in broken_links(file, tmp_path)]


@pytest.mark.parametrize(
    "text",
    [
        "[file](other.md)",
        "[heading](other.md#big-title)",
        "[heading](other.md#a-part-code--more)",
        "# Here\n[here](#here)",
        "[named][there]\n\n[there]: other.md",
        "[elsewhere](https://example.com/a)",
        "`[no link](missing.md)`",
        "```\n[no link](missing.md)\n```",
        "[titled](other.md 'a title')",
    ],
)
def test_a_link_that_leads_somewhere_is_fine(tmp_path: Path, text: str) -> None:
    assert _faults(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[file](missing.md)", "1 missing.md"),
        ("\n![picture](missing.png)", "2 missing.png"),
        ("[heading](other.md#small-title)", "1 other.md#small-title"),
        ("[here](#nowhere)", "1 #nowhere"),
        ("[named][there]", "1 [there]"),
        ("[there]: missing.md", "1 missing.md"),
        ("[plain](http://example.com)", "1 http://example.com"),
        ("[absolute](/other.md)", "1 /other.md"),
        ("[outside](../outside.md)", "1 ../outside.md"),
        ("[empty]()", "1 "),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, text: str, fault: str) -> None:
    assert _faults(tmp_path, text) == [fault]


def test_equal_headings_have_numbered_anchors(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("# One\n# One\n", encoding="utf-8")
    assert anchors(file) == {"one", "one-1"}


def test_no_link_of_the_repository_is_dead() -> None:
    files = markdown_files(ROOT)
    assert ROOT / "README.md" in files
    assert [str(one) for file in files for one in broken_links(file, ROOT)] == []
