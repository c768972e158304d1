"""Templates of HTML pages, each kept beside the code that fills it."""

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@functools.cache
def page_template(package: str, name: str) -> Template:
    """Give a package's template; it escapes what it is given, and refuses to miss anything."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
