"""HTML and SVG that cannot be broken out of: what is text is escaped, and only `element` makes markup."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

VOID = frozenset(("br", "img", "link", "meta"))


@dataclass(frozen=True)
class Markup:
    """Finished markup, which goes into other markup as it is. Text of users is never made one."""

    text: str


Child = Markup | str | float | None


def element(tag: str, *children: Child | Iterable[Child], **attributes: str | float | bool | None) -> Markup:
    """`<tag attributes>children</tag>`, text and attribute values escaped.

    `_` at the end of an attribute's name is dropped and other `_` become `-` (`class_`, `stroke_width`); an attribute
    that is None or False is left out, one that is True has no value. Numbers have at most two decimals.
    """
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_text(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    inside = "".join(_text(child) for child in _flat(children))
    return Markup(f"<{tag}{written}>" if tag in VOID else f"<{tag}{written}>{inside}</{tag}>")


def joined(children: Iterable[Child]) -> Markup:
    """Markup and escaped text one after the other."""
    return Markup("".join(_text(child) for child in children))


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], class_: str = "") -> Markup:
    """A table whose first column are the headings of its rows."""
    body = []
    for row in rows:
        first, *rest = row
        body.append(element("tr", element("th", first, scope="row"), (element("td", cell) for cell in rest)))
    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", (element("th", cell, scope="col") for cell in head))),
            element("tbody", body),
            class_=class_ or None,
        ),
        class_="wide",
    )


def _flat(children: Iterable[Child | Iterable[Child]]) -> Iterable[Child]:
    for child in children:
        if isinstance(child, Iterable) and not isinstance(child, str):
            yield from child
        else:
            yield child


def _text(value: Child | bool) -> str:
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value.text
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(str(value))
