"""Which files a run on images takes in place of those in DATA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GROUND_TRUTH = "gt"  # in place of a file of pelvis estimates


@dataclass(frozen=True)
class ViewFiles:
    """None stands for DATA's own file.

    `pelvis` is an official results pickle, or "gt" for the true pelvis, with which no published figure was made.
    `statistics` are limb lengths, an h5 file; `labels` a multi-view label table.
    """

    pelvis: str | None = None
    statistics: Path | None = None
    labels: Path | None = None
