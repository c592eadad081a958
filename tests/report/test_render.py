"""The page: self-contained, escaped, and readable without seeing it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from preflearn.report.blocks import Axis, Bullets, Grid, Intervals, Page, Prose, Row, Section, Tile, headings
from preflearn.report.render import render

NASTY = '<script>alert("x")</script>&"\''
VOID = {"meta", "link", "br", "hr", "img", "input", "line", "path"}


class Checker(HTMLParser):
    """Counts tags and sees to it that every tag that opens closes in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def page(name: str = "x") -> Page:
    axis = Axis([-1.0, 1.0])
    rows = (
        Row(
            name,
            (axis.mark(0.5, 0.2, 9.0, title=f"{name}: 0.5", truth=0.4), axis.mark(0.1, 0.0, 0.3, title="b", series=1)),
            ("1", "0.5"),
            group=f"Tier {name}",
        ),
        Row("nobody", (), ("", ""), faint=True),
    )
    plot = Intervals(
        "Caption",
        "System",
        "log-odds",
        axis.ticks(),
        axis.at(0.0),
        headings("#Rank", "#Strength"),
        rows,
        (name, "b"),
        name,
        f"Summary {name}",
    )
    blocks = (
        Prose(name),
        Bullets((name,), "caution", name),
        Grid(name, headings("What", "#N"), ((name, "1"),), name),
        plot,
    )
    return Page(name, name, (Tile(name, name),), (name,), (Section("all", name, blocks),), ((name, name),), banner=name)


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    return checker


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    html = render(page())
    seen = check(html).seen
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in seen}
    assert not re.search(r"https?://|url\(|@import|javascript:", html)
    for tag, attributes in seen:
        assert not any(key.startswith("on") for key in attributes), (tag, attributes)
        assert "style" not in attributes, "inline styles would need a wider content policy"


def test_names_from_data_never_become_markup() -> None:
    checker = check(render(page(NASTY)))
    assert "script" not in {tag for tag, _ in checker.seen}
    assert checker.text.count(NASTY) >= 12


def test_what_a_screen_reader_needs_is_there() -> None:
    seen = check(render(page())).seen
    tags = [tag for tag, _ in seen]
    assert {"header", "nav", "main", "footer"} <= set(tags)
    assert tags.count("h1") == 1
    tables = tags.count("table")
    assert tables == tags.count("caption") == 2
    assert all(attributes.get("scope") in {"row", "col", "rowgroup"} for tag, attributes in seen if tag == "th")
    charts = [attributes for tag, attributes in seen if tag == "svg" and attributes.get("role") == "img"]
    assert charts and all(attributes.get("aria-label") for attributes in charts)
    ids = [attributes["id"] for _, attributes in seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes.get("href") or "" for tag, attributes in seen if tag == "a"]
    assert links and all(link[1:] in ids for link in links)
    assert dict(seen)["html"] == {"lang": "en"}
