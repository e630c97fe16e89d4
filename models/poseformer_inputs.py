"""Batches as Context-Aware PoseFormer takes them: normalisation, mirroring, the flip test.

Facts from github.com/QitaoZhao/ContextAware-PoseFormer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.models.test_time import Mirror, mirrored_images, mirrored_poses
from h36m_toolbox.skeletons import H36M_17, Skeleton

# Mean and deviation of red, green, blue in units of the whole range: ImageNet's for HRNet, CPN's own mean alone.
_STATISTICS = {
    "hrnet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cpn": ((122.7717 / 255, 115.9465 / 255, 102.9801 / 255), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class PoseFormerBatch:
    """Crops and 2D poses, and the 3D poses where they are known.

    With `maps`, those of the backbone, fine to coarse or as it gives them, and `mirror_maps`, those of the crops'
    mirror images, the crops themselves are not looked at.
    """

    images: torch.Tensor  # (batch, 256, 192, 3) uint8 RGB
    joints_2d: torch.Tensor  # (batch, 17, 2), screen units: pixels over half the image's width, the middle at 0
    joints_crop: torch.Tensor  # (batch, 17, 2), pixels of the crop
    targets: torch.Tensor  # (batch, 17, 3), camera axes, relative to the root, m
    maps: tuple[torch.Tensor, ...] = ()  # (batch, channels, height, width) each
    mirror_maps: tuple[torch.Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.joints_2d)

    def to(self, device: torch.device | str) -> PoseFormerBatch:
        """The batch on a device; a copy from pinned memory runs beside what the device does."""
        return self._changed(lambda each: each.to(device, non_blocking=True))

    def taken(self, part: slice) -> PoseFormerBatch:
        """Some of the samples; nothing is copied."""
        return self._changed(lambda each: each[part])

    def pinned(self) -> PoseFormerBatch:
        """The batch in memory that a GPU reads by itself."""
        return self._changed(torch.Tensor.pin_memory)

    def mirrored(self, skeleton: Skeleton = H36M_17) -> PoseFormerBatch:
        """Left and right exchanged in all four.

        Crop pixels become 192 - x - 1, as officially, although a place on the feature maps is x / 96 - 1: mirrored
        places are 1/96 beside the mirrored ones.
        """
        crop = mirrored_poses(self.joints_crop, skeleton, POSEFORMER_SIZE[0])
        return PoseFormerBatch(
            mirrored_images(self.images.movedim(-1, 1)).movedim(1, -1),
            mirrored_poses(self.joints_2d, skeleton),
            crop - crop.new_tensor([1, 0]),
            mirrored_poses(self.targets, skeleton),
            self.mirror_maps,
            self.maps,
        )

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> PoseFormerBatch:
        return PoseFormerBatch(
            change(self.images),
            change(self.joints_2d),
            change(self.joints_crop),
            change(self.targets),
            tuple(map(change, self.maps)),
            tuple(map(change, self.mirror_maps)),
        )


def normalised(images: torch.Tensor, backbone: str) -> torch.Tensor:
    """Crops (batch, h, w, 3) uint8 RGB as a backbone takes them: (batch, 3, h, w) float32, channels last in memory.

    Within 2e-6 of the official arithmetic.
    """
    mean, deviation = _STATISTICS["cpn" if backbone == "cpn" else "hrnet"]
    factor = torch.tensor([1 / (255 * of_channel) for of_channel in deviation], device=images.device)
    shift = torch.tensor([-m / d for m, d in zip(mean, deviation, strict=True)], device=images.device)
    return torch.addcmul(shift, images.float(), factor).permute(0, 3, 1, 2)


def poses_of(model: nn.Module, batch: PoseFormerBatch, backbone: str) -> torch.Tensor:
    """The network's poses (batch, 17, 3) of a batch on its device."""
    images = batch.images if batch.maps else normalised(batch.images, backbone)
    return model(images, batch.joints_2d, batch.joints_crop, *((batch.maps,) if batch.maps else ()))


def joined(first: PoseFormerBatch, second: PoseFormerBatch) -> PoseFormerBatch:
    """Two batches, one after the other; of the maps' mirror images nothing is kept."""
    return PoseFormerBatch(
        torch.cat([first.images, second.images]),
        torch.cat([first.joints_2d, second.joints_2d]),
        torch.cat([first.joints_crop, second.joints_crop]),
        torch.cat([first.targets, second.targets]),
        tuple(torch.cat(pair) for pair in zip(first.maps, second.maps, strict=True)),
    )


def crop_mirror(skeleton: Skeleton = H36M_17) -> Mirror[PoseFormerBatch]:
    """How these models are shown a mirrored person of this skeleton: the official flip test, in one pass."""
    return Mirror(lambda batch: batch.mirrored(skeleton), lambda poses: mirrored_poses(poses, skeleton), joined)
