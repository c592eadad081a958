"""From a page as plain data to one self-contained HTML file: no script, no request, names from data always escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from preflearn._version import __version__
from preflearn.report.blocks import Page

if TYPE_CHECKING:
    from jinja2 import Environment


def render(page: Page) -> str:
    """The page as one HTML document."""
    from markupsafe import Markup

    environment = _environment()
    loader = environment.loader
    assert loader is not None
    style = Markup(loader.get_source(environment, "style.css")[0].strip())
    return environment.get_template("page.html.j2").render(page=page, style=style, version=__version__) + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("preflearn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
