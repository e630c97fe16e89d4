"""What goes into a model that sees images and what comes out of it: the contract of contextpose, volumetric and others.

Such a network takes images (batch, views, 3, size, size), normalised, and projections (batch, views, 3, 4), world mm to
their pixels; one with a pelvis also base points (batch, 3), world mm. Its output has `joints_3d` (batch, joints, 3),
world, mm. How images are cut: `h36m_toolbox.views.crops`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.registry import checked_options
from h36m_toolbox.skeletons import MULTIVIEW_17, Skeleton
from h36m_toolbox.views.crops import CROP_SIZE

# Options that every such model has beside those of its own configuration.
SHARED_OPTIONS = ("layers", "image_px")
CONFIDENCE_PX = 128  # heads of confidences need 4x4 deep features


@dataclass(frozen=True)
class FromViews:
    """The contract of a model that sees images; `protocol` is the one its figures are published under.

    `untrained` are options for a run with random weights, where those that a training starts from give no scorable
    pose. Raises H36MError for images that are too small for the network.
    """

    views: Literal["one", "all"]  # a pose from each view, or one from all views of an instant
    needs_pelvis: bool
    needs_limbs: bool
    protocol: str
    image_px: int = CROP_SIZE
    least_px: int = 64
    untrained: Mapping[str, Any] = field(default_factory=dict)
    output_joints: Skeleton = MULTIVIEW_17

    def __post_init__(self) -> None:
        if self.image_px < self.least_px or self.image_px % 32:
            raise H36MError(
                f"images of {self.image_px} px; this model needs a multiple of 32, {self.least_px} or more: give "
                "another image_px"
            )


def view_options(model: str, options: Mapping[str, Any], config: type, *more: str) -> dict[str, Any]:
    """The options that go into the model's configuration, without `layers` and `image_px`; an H36MError for others."""
    given = checked_options(model, options, config, *SHARED_OPTIONS, *more)
    return {name: value for name, value in given.items() if name not in SHARED_OPTIONS}
