"""What the registry knows of a model: who made it, what it takes and gives, how it was trained, what was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from h36m_toolbox.models.recipes import Recipe

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.models.crop_models import FromCrops
    from h36m_toolbox.models.lifting import Lifting
    from h36m_toolbox.models.patch_models import FromPatches
    from h36m_toolbox.models.view_models import FromViews

ANY_DETECTIONS = "*"


@dataclass(frozen=True)
class PublishedScore:
    """One published figure: errors in mm under a protocol; `detections` are the 2D input ("gt", "sh") or "images".

    None stands for a figure that was not given.
    """

    detections: str
    protocol: str
    mpjpe_mm: float
    p_mpjpe_mm: float | None
    source: str


@dataclass(frozen=True)
class PublishedTestScore:
    """A published figure on MPI-INF-3DHP's test set: mm, and percent; None for what was not given."""

    options: str  # of the model, "" for none
    protocol: str
    mpjpe_mm: float | None
    pck150: float | None
    auc: float | None
    source: str


@dataclass(frozen=True)
class ModelCard:
    """A model that `h36m bench` and `h36m train` can run.

    `build(**options)` makes the network and `contract(**options)` says what goes into it and what comes out: 2D poses
    or images. The options are plain JSON values. `recipes` has how it was trained on each kind of 2D detections, "*" on
    any other; a lifter without recipes cannot be trained here. `parameters` counts the network's without options.
    """

    name: str
    build: Callable[..., nn.Module]
    contract: Callable[..., FromCrops | Lifting | FromViews | FromPatches]
    paper: str
    repository: str
    weights: str
    licence: str
    inputs: str
    parameters: int
    published: tuple[PublishedScore, ...] = ()
    published_3dhp: tuple[PublishedTestScore, ...] = ()
    recipes: Mapping[str, Recipe] | None = None
