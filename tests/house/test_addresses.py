"""No file names a package registry: where packages come from is the user's own choice."""

from tests.house.repository import ROOT, repository_files

# Written in parts, as this file is searched like all others.
_REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache", "org"),
        ("npmjs", "org"),
        ("docker", "io"),
        ("hub", "docker", "com"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("gcr", "io"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    )
]


def test_no_file_names_a_package_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in repository_files()
        for name in _REGISTRIES
        if name.encode() in path.read_bytes()
    ]
    assert not found
