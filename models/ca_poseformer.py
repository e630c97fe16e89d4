"""Context-Aware PoseFormer: the crop of one person and their 2D pose to a 3D pose.

Zhao, Zheng, Liu and Chen, NeurIPS 2023, arXiv:2311.03312; names and shapes of the state dict are those of
github.com/QitaoZhao/ContextAware-PoseFormer. Written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.models.cards import ModelCard, PublishedScore, PublishedTestScore
from h36m_toolbox.models.checkpoints import load_weights
from h36m_toolbox.models.cpn import CPN
from h36m_toolbox.models.crop_models import SHARED_OPTIONS, FromCrops
from h36m_toolbox.models.full_precision import row_like
from h36m_toolbox.models.hrnet import HRNet, PoseHRNet
from h36m_toolbox.models.pose_transformer import DROP_PATH, PoseTransformer, TransformerConfig
from h36m_toolbox.models.registry import checked_options
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

Backbone = Literal["hrnet_32", "hrnet_48", "cpn"]
BACKBONES: tuple[Backbone, ...] = get_args(Backbone)
VARIANTS = ("h36m", "3dhp")
_TOKEN_WIDTHS_3DHP = {"hrnet_32": 64, "hrnet_48": 96}


@dataclass(frozen=True)
class PoseFormerConfig:
    """Backbone and variant. "3dhp" is the MPI-INF-3DHP one: narrower, without deformable blocks, on HRNet only."""

    backbone: Backbone = "hrnet_32"
    variant: Literal["h36m", "3dhp"] = "h36m"
    drop_path: float = DROP_PATH


class CAPoseFormer(nn.Module):
    """A frozen 2D backbone and the lifting transformer.

    The backbone stays in eval mode and without gradients, whatever `train()` says, but for the 3DHP variant, whose
    batch norms follow the batches while it trains, as officially: its backbone belongs to its checkpoint.
    """

    def __init__(self, config: PoseFormerConfig = PoseFormerConfig()) -> None:
        super().__init__()
        if config.backbone not in BACKBONES:
            raise H36MError(f"no backbone {config.backbone}; there are {', '.join(BACKBONES)}")
        if config.variant not in VARIANTS:
            raise H36MError(f"no variant {config.variant} of ca-poseformer; there are {', '.join(VARIANTS)}")
        if config.variant == "3dhp" and config.backbone not in _TOKEN_WIDTHS_3DHP:
            raise H36MError(f"variant 3dhp has backbone {' or '.join(_TOKEN_WIDTHS_3DHP)}, not {config.backbone}")
        self.config = config
        self.backbone = backbone(config.backbone).requires_grad_(False)
        is_3dhp = config.variant == "3dhp"
        self.volume_net = PoseTransformer(
            TransformerConfig(
                self.backbone.widths,
                _TOKEN_WIDTHS_3DHP[config.backbone] if is_3dhp else 128,
                context_blocks=not is_3dhp,
                drop_path=config.drop_path,
            )
        )

    def train(self, mode: bool = True) -> CAPoseFormer:
        super().train(mode)
        self.backbone.train(mode and self.config.variant == "3dhp")
        return self

    def forward(
        self,
        images: torch.Tensor,
        joints_2d: torch.Tensor,
        joints_crop: torch.Tensor,
        maps: tuple[torch.Tensor, ...] | None = None,
    ) -> torch.Tensor:
        """Poses (batch, 17, 3), camera axes, relative to the root; metres (3DHP: mm).

        `images` (batch, 3, 256, 192), normalised RGB; `joints_2d` (batch, 17, 2), screen units: pixels over half the
        image's width, the middle at 0; `joints_crop` (batch, 17, 2), pixels of the crop. Given `maps` of the backbone,
        it does not run, and the images are not looked at.
        """
        if maps is None:
            with torch.no_grad():
                maps = self.backbone(images)
        return self.volume_net(joints_2d, crop_places(joints_crop), maps)


def load_backbone(model: CAPoseFormer, path: Path | str) -> None:
    """Loads the published weights of the 2D network: HRNet's of COCO, whose head is left out, or CPN's.

    An H36MError, as of `load_weights`, tells what does not fit; the model is then unchanged.
    """
    if isinstance(model.backbone, CPN):
        load_weights(model.backbone, path)
        return
    whole = PoseHRNet(model.backbone.widths[0])
    load_weights(whole, path)
    state = whole.state_dict()
    model.backbone.load_state_dict({name: state[name] for name in model.backbone.state_dict()})


def backbone(name: Backbone) -> HRNet | CPN:
    """A freshly initialised backbone."""
    return CPN() if name == "cpn" else HRNet(int(name.removeprefix("hrnet_")))


def crop_places(joints_crop: torch.Tensor) -> torch.Tensor:
    """Where on the feature maps pixels (..., 2) of the crop are sampled: 0 to width becomes -1 to 1.

    As officially, although -1 and 1 are the centres of the outer pixels there.
    """
    return joints_crop / row_like([side / 2 for side in POSEFORMER_SIZE], joints_crop) - 1


_NAME = "ca-poseformer"
_REPOSITORY = "https://github.com/QitaoZhao/ContextAware-PoseFormer"
# The MPI-INF-3DHP variant: true 2D poses and stored crops in, as officially, and millimetres out.
_OF_3DHP: dict[str, Any] = {
    **{"stored_crops": True, "detections": "gt", "protocol": "mpi-inf-3dhp", "dataset": "mpi-inf-3dhp"},
    **{"input_joints": MPI_INF_3DHP_17, "output_joints": MPI_INF_3DHP_17, "mm_per_unit": 1.0},
}


def _build(**options: Any) -> CAPoseFormer:
    given = checked_options(_NAME, options, PoseFormerConfig, "backbone", *SHARED_OPTIONS)
    return CAPoseFormer(PoseFormerConfig(**{name: given[name] for name in given if name not in SHARED_OPTIONS}))


def _contract(
    backbone: str = PoseFormerConfig.backbone, variant: str = PoseFormerConfig.variant, **options: Any
) -> FromCrops:
    if variant not in VARIANTS:
        raise H36MError(f"no variant {variant} of {_NAME}; there are {', '.join(VARIANTS)}")
    shared = {name: options[name] for name in SHARED_OPTIONS if name in options}
    return FromCrops(backbone, **(shared if variant == PoseFormerConfig.variant else {**_OF_3DHP, **shared}))


CA_POSEFORMER_CARD = ModelCard(
    name=_NAME,
    build=_build,
    contract=_contract,
    paper="Zhao et al., A Single 2D Pose with Context is Worth Hundreds for 3D Human Pose Estimation, NeurIPS 2023, "
    "arXiv:2311.03312",
    repository=_REPOSITORY,
    weights=f"{_REPOSITORY}#human36m",
    licence="network written anew, MIT; the authors' weights are not shipped, their terms are on the authors' page",
    inputs="images and 2D, h36m-17, one frame; option backbone=hrnet_32 (default), hrnet_48 or cpn",
    parameters=42_629_699,
    published=(
        PublishedScore("cpn", _NAME, 41.6, None, "read off the paper's figure 1, which does not name the backbone"),
    ),
    published_3dhp=tuple(
        PublishedTestScore(f"variant=3dhp, backbone={name}", "mpi-inf-3dhp-lifting", mpjpe_mm, None, None, _REPOSITORY)
        for name, mpjpe_mm in (("hrnet_32", 32.14), ("hrnet_48", 31.25))  # names of the released checkpoints
    ),
)
