"""What goes into a model that sees the crop of one person beside their 2D pose: the contract of ca-poseformer."""

from __future__ import annotations

from dataclasses import dataclass

from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import HUMAN36M
from h36m_toolbox.skeletons import H36M_17, Skeleton

# Options that such a model has beside those of its network.
SHARED_OPTIONS = ("flip_test", "stored_crops", "cache_features")


@dataclass(frozen=True)
class FromCrops:
    """The contract: which detections and protocol are its own, and how it is run.

    `flip_test` averages over the mirror image. `stored_crops` takes the 192 x 256 JPEG crops that `h36m extract --crop
    poseformer` has put into DATA, which were compressed twice, in place of whole frames and lossless crops.
    `cache_features` keeps the backbone's maps on disk while it trains. Raises H36MError for values that are not true or
    false.
    """

    backbone: str
    flip_test: bool = True
    stored_crops: bool = False
    cache_features: bool = False
    detections: str = "cpn"
    protocol: str = "ca-poseformer"
    input_joints: Skeleton = H36M_17
    output_joints: Skeleton = H36M_17
    dataset: str = HUMAN36M  # that it sees, in 2D poses, crops and joints
    mm_per_unit: float = 1000.0  # of its poses

    def __post_init__(self) -> None:
        for name in SHARED_OPTIONS:
            if not isinstance(getattr(self, name), bool):
                raise H36MError(f"option {name} is {getattr(self, name)!r}; it is true or false")

    def check_dataset(self, dataset: str) -> None:
        """An H36MError where it is of another data set."""
        if dataset != self.dataset:
            raise H36MError(
                f"this variant of ca-poseformer is of {self.dataset}, not of {dataset}; variant=h36m is of human3.6m, "
                "--option variant=3dhp of --dataset mpi-inf-3dhp"
            )
