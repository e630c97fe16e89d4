"""What goes into a model that sees one person's patch and what comes out of it: the contract of integral and its kin.

Such a network takes patches (batch, 3, height, width), normalised, and gives coordinates (batch, joints, 3): fractions
of the patch, as `h36m_toolbox.pose_datasets.patches` says. Flip test and ensemble are those of `test_time`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.batch_sizes import Pieces, batch_size_for
from h36m_toolbox.models.devices import moved
from h36m_toolbox.models.test_time import (
    Mirror,
    Predictor,
    averaged,
    mirrored_images,
    mirrored_poses,
)
from h36m_toolbox.models.watching import Watch
from h36m_toolbox.pose_datasets.patches import MEAN_RGB, STD_RGB, Patch
from h36m_toolbox.skeletons import INTEGRAL_18, Skeleton

_SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")
_STEP = 32  # the trunk's stride
_ON_CPU = 8  # patches a batch: more of them are no faster there
_MOST = 64
_BYTES_A_PATCH = 1 << 29  # of a GPU, with room to spare; what is too much after all is computed in pieces


@dataclass(frozen=True)
class FromPatches:
    """The contract of a model of patches; `protocol` scores it on Human3.6M, `untrained` are options of random weights.

    Officially initialised weights put every joint into the same place, which no alignment can score.
    """

    patch: Patch
    protocol: str = "integral"
    output_joints: Skeleton = INTEGRAL_18
    untrained: Mapping[str, Any] = field(default_factory=lambda: {"initial_std": None})


def patch_named(size: str) -> Patch:
    """The patch of a size such as 288x384, width x height; an H36MError for anything but multiples of 32."""
    match = _SIZE.fullmatch(size)
    width, height = (int(match[1]), int(match[2])) if match else (1, 1)
    if width % _STEP or height % _STEP:
        raise H36MError(f"no patch {size!r}; it is width x height in multiples of {_STEP} px, such as 256x256, 288x384")
    return Patch(width, height)


def in_patch(coordinates: torch.Tensor, patch: Patch) -> torch.Tensor:
    """Coordinates (batch, joints, 3) as patch pixels, float64; z in pixels of the patch's width."""
    size = torch.tensor([patch.width, patch.height, patch.width], dtype=torch.float64, device=coordinates.device)
    return (coordinates.double() + coordinates.new_tensor([0.5, 0.5, 0], dtype=torch.float64)) * size


def patch_mirror(contract: FromPatches) -> Mirror[torch.Tensor]:
    """How these models are shown a mirrored person: x -> width - 1 - x, as officially.

    A model that is exactly symmetric, cell by cell, thus moves by a pixel and a half, all joints alike.
    """
    width = contract.patch.width - 1
    return Mirror(mirrored_images, lambda poses: mirrored_poses(poses, contract.output_joints, width))


def patch_predictor(models: Sequence[nn.Module], contract: FromPatches, flip: bool = False) -> Predictor[torch.Tensor]:
    """From normalised patches to poses (batch, joints, 3) in patch pixels, float64: the mean of all models.

    The authors published no rule for their ensemble; this is the mean of their poses.
    """

    def predictor(model: nn.Module) -> Predictor[torch.Tensor]:
        return lambda patches: in_patch(model(patches), contract.patch)

    return averaged([predictor(model) for model in models], patch_mirror(contract), flip)


def normalised_patches(patches: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Patches (batch, height, width, 3) uint8, red green blue, as the network takes them, on the device."""
    pixels = moved(patches, device).movedim(-1, 1).float()
    mean, std = (torch.from_numpy(values).to(device)[:, None, None] for values in (MEAN_RGB, STD_RGB))
    return (pixels - mean) / std


def default_batch_size(device: torch.device | str) -> int:
    """As many patches as the device's free memory surely takes."""
    return batch_size_for(device, _ON_CPU, _BYTES_A_PATCH, _MOST)


def predict_patches(
    predict: Predictor[torch.Tensor],
    load: Callable[[int], np.ndarray],
    count: int,
    device: torch.device | str = "cpu",
    batch_size: int = _ON_CPU,
    workers: int = 2,
    watch: Watch | None = None,
) -> np.ndarray:
    """Poses (count, joints, 3) in patch pixels, float64, of the patches that `load` gives: uint8, red green blue.

    Models must be in eval mode on `device`. A batch is read in threads while the one before it is computed. Where
    CUDA's memory does not suffice batches are computed in pieces. H36MError where not even one patch fits, and where
    there is none.
    """
    starts = range(0, count, batch_size)
    poses = []
    watch, pieces = watch or Watch(device), Pieces(device)
    with torch.inference_mode(), ThreadPoolExecutor(workers) as pool:

        def submitted(start: int) -> list[Future[np.ndarray]]:
            return [pool.submit(load, place) for place in range(start, min(start + batch_size, count))]

        ahead = submitted(0)
        for start in starts:
            reading, ahead = ahead, submitted(start + batch_size)
            with watch.waiting():
                patches = np.stack([each.result() for each in reading])

            def found(part: slice, patches: np.ndarray = patches) -> np.ndarray:
                return predict(normalised_patches(patches[part], device)).cpu().numpy()

            poses.append(pieces.computed(len(patches), found))
            watch.saw(len(patches))
    if not poses:
        raise H36MError("no patches to look at; expected one or more people")
    return np.concatenate(poses)
