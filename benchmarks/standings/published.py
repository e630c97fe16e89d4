"""Published figures with their sources, from `published_figures/figures.csv`, and which of our protocols gives them.

`scored_as` names a protocol only where the figure's own program does what that protocol says; any other figure keeps
the words under which it was published and stands beside nothing of ours.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_OUR_DETECTIONS = {"GT 2D": "gt", "SH ft-H36M": "sh", "CPN ft-H36M": "cpn"}


@dataclass(frozen=True)
class PublishedFigure:
    """One line of somebody's results; errors mm, pck150 and auc percent, NaN where not published."""

    method: str
    paper: str
    venue: str
    year: str
    dataset: str
    protocol: str  # in the source's words
    scored_as: str  # one of PROTOCOLS, or ""
    input: str
    frames: str  # that the model sees at once
    detections: str  # in the source's words
    mpjpe_mm: float
    p_mpjpe_mm: float
    pck150: float
    auc: float
    parameters_m: float
    source: str

    @property
    def our_detections(self) -> str:
        """Our name of the 2D input where it is one of ours, otherwise the source's words."""
        found = [name for words, name in _OUR_DETECTIONS.items() if self.detections.startswith(words)]
        return found[0] if found else self.detections


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """All of them, in the order of the table."""
    text = files("h36m_toolbox.benchmarks").joinpath("published_figures/figures.csv").read_text(encoding="utf-8")
    return tuple(_parsed(row) for row in csv.DictReader(text.splitlines()))


def _parsed(row: dict[str, str]) -> PublishedFigure:
    numbers = {
        name: float(row[name]) if row[name] else math.nan
        for name in ("mpjpe_mm", "p_mpjpe_mm", "pck150", "auc", "parameters_m")
    }
    return PublishedFigure(**{**row, **numbers})  # type: ignore[arg-type]
