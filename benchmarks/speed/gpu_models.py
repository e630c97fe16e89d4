"""The bundled models as a GPU is given them: an entry each, with a batch that fills it, and smaller for a trial."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.cards import ModelCard
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.lifting import Lifting
from h36m_toolbox.models.patch_models import FromPatches, normalised_patches
from h36m_toolbox.models.poseformer_inference import ready_to_predict
from h36m_toolbox.models.poseformer_inputs import normalised
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_inference import normalised_images
from h36m_toolbox.models.view_models import FromViews

Inputs = tuple[torch.Tensor, ...]
Contract = FromCrops | Lifting | FromViews | FromPatches

_LIMBS = {"mean": [100.0 + 20 * limb for limb in range(16)], "std": [20.0] * 16}
_PATCH_MM = 2000.0  # that a patch shows; of one whose depths are pixels about as much
_LIFTERS_IN_DEVIATIONS = ("martinez-weigq", "martinez-tf")  # their networks' numbers are in deviations of a joint


@dataclass(frozen=True)
class Training:
    """An epoch of a model's recipe: samples, of which a process takes `batch` a step, and how many there are.

    A sample is a pose, a crop, a patch or the views of an instant. Without `epochs` it is stopped by hand.
    """

    batch: int
    samples: int
    epochs: int | None = None


@dataclass(frozen=True)
class Entry:
    """A model to be measured: its options, how many samples a batch has, and what makes it small for a trial."""

    model: str
    batch: int
    options: dict[str, Any] = field(default_factory=dict)
    tiny: dict[str, Any] = field(default_factory=dict)
    training: Training | None = None
    benched: bool = True  # on Human3.6M's frames
    crop_px: tuple[int, int] = POSEFORMER_SIZE  # width, height, of a model of crops
    trial_bf16: bool = True  # whether a processor without instructions for it has done so in less than minutes

    @property
    def card(self) -> ModelCard:
        """What the registry knows of it."""
        return model_card(self.model)

    @property
    def is_lifter(self) -> bool:
        """Whether it sees 2D poses alone: then it has no convolution to lay out, and needs no films."""
        return isinstance(self.card.contract(**self.options), Lifting)

    def in_trial(self, tiny: bool) -> Entry:
        """Itself, or as small as it gets."""
        if not tiny:
            return self
        training = self.training and replace(self.training, batch=2)  # batch norms need two
        return replace(self, batch=1, options=self.options | self.tiny, crop_px=_TINY_CROP, training=training)


_TINY_CROP = (64, 32)
_SMALL_VIEWS = {"layers": 18, "image_px": 64}
_SMALL_PATCH = {"layers": 18, "patch": "64x64"}
_ONE_PASS = {"flip_test": False}

TEST_IMAGES = 543_344  # of S9 and S11
_POSES = 1_559_752  # of S1, S5, S6, S7 and S8
_CROPS = 312_188  # every fifth of them
_MPII = 22_246  # people, of which an epoch has each once beside as many of every other data set
_LIFTED, _VIEWED = Training(64, _POSES, 200), Training(4, 15_000)
_CROPPED = Training(512, _CROPS, 60)

# What is measured and compiled soonest comes first: time may be over before the last.
ENTRIES = {
    "martinez": Entry("martinez", 4096, training=_LIFTED),
    "martinez-weigq": Entry("martinez-weigq", 4096, training=_LIFTED),
    "martinez-tf": Entry("martinez-tf", 4096, training=_LIFTED),
    "semgcn": Entry("semgcn", 4096, training=replace(_LIFTED, epochs=50)),
    "semgcn-nonlocal": Entry("semgcn-nonlocal", 4096, training=replace(_LIFTED, epochs=30)),
    "integral": Entry("integral", 64, {}, _SMALL_PATCH, Training(32, 2 * _MPII, 300)),
    "integral-direct": Entry("integral-direct", 64, {}, _SMALL_PATCH, Training(32, 2 * _MPII, 140)),
    "ransac": Entry("ransac", 8, tiny=_SMALL_VIEWS),
    "algebraic": Entry("algebraic", 8, {}, _SMALL_VIEWS | {"confidences": False}, replace(_VIEWED, batch=8)),
    "volumetric": Entry(
        "volumetric", 8, {}, _SMALL_VIEWS | {"voxels": 32}, replace(_VIEWED, batch=5), trial_bf16=False
    ),
    "contextpose": Entry("contextpose", 16, {}, _SMALL_VIEWS | {"voxels": 16}, _VIEWED),
    "ca-poseformer-cpn": Entry("ca-poseformer", 64, {"backbone": "cpn"}, _ONE_PASS, _CROPPED),
    "ca-poseformer-hrnet_32": Entry("ca-poseformer", 64, {"backbone": "hrnet_32"}, _ONE_PASS, _CROPPED),
    "ca-poseformer-hrnet_48": Entry("ca-poseformer", 64, {"backbone": "hrnet_48"}, _ONE_PASS, _CROPPED),
    "ca-poseformer-3dhp": Entry("ca-poseformer", 64, {"variant": "3dhp"}, _ONE_PASS, benched=False),
    "challenge": Entry(
        "integral",
        32,
        {"layers": 152, "patch": "288x384", "depth_in": "image"},
        _SMALL_PATCH,
        Training(24, 2 * _MPII, 300),
    ),
    "challenge-256x256": Entry("integral", 32, {"layers": 152, "depth_in": "image"}, _SMALL_PATCH),
    "challenge-direct": Entry("integral-direct", 64, {"depth_in": "image"}, _SMALL_PATCH),
}


@dataclass(frozen=True, eq=False)  # networks and tensors have no single ==
class Ready:
    """A network on its device as `h36m bench` calls it, and a batch of random samples for it.

    `images` counts what the network sees in a batch: images, or the 2D poses of a lifter. `scale` turns its numbers
    into `unit`.
    """

    model: nn.Module
    inputs: Inputs
    images: int
    scale: float
    unit: str


def ready_entry(entry: Entry, device: str, weights: Path | None, training: bool = False) -> Ready:
    """The network with these weights, or with the random ones that `h36m bench --untrained` takes.

    To predict, or in train mode as it is.
    """
    contract = entry.card.contract(**entry.options)
    torch.manual_seed(0)
    starts = getattr(contract, "untrained", {}) if weights is None else {}
    limbs = {"limbs": _LIMBS} if isinstance(contract, FromViews) and contract.needs_limbs else {}
    model = create_model(entry.model, **{**starts, **entry.options, **limbs})
    if weights is not None:
        load_weights(model, weights)
    inputs = _inputs(contract, entry, device)
    images = inputs[0].shape[0] * (inputs[0].shape[1] if isinstance(contract, FromViews) else 1)
    model = model.to(device).train() if training else ready_to_predict(model.to(device).eval())
    return Ready(model, inputs, images, *_scale(entry.model, contract))


def joints_of(outputs: Any) -> torch.Tensor:
    """The poses (batch, joints, 3) among what a network gives."""
    joints = outputs if isinstance(outputs, torch.Tensor) else outputs.joints_3d
    assert isinstance(joints, torch.Tensor)
    return joints


def _inputs(contract: Contract, entry: Entry, device: str) -> Inputs:
    """Random samples, made ready as `h36m bench` does; cameras look at the origin from 5 m."""
    random, batch = np.random.default_rng(0), entry.batch

    def pixels(*shape: int) -> np.ndarray:
        return random.integers(0, 256, shape, np.uint8)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.from_numpy(random.uniform(size=shape).astype(np.float32)).to(device)

    if isinstance(contract, FromViews):
        views, side = (1 if contract.views == "one" else 4), contract.image_px
        images = normalised_images(pixels(batch, views, side, side, 3), device)
        cameras = torch.stack([_camera(view * torch.pi / 2, side) for view in range(views)])
        cameras = cameras.expand(batch, -1, -1, -1).contiguous().to(device)
        pelvis = [torch.zeros(batch, 3, device=device)] if contract.needs_pelvis else []
        return images, cameras, *pelvis
    if isinstance(contract, FromCrops):
        width, height = entry.crop_px
        crops = normalised(torch.from_numpy(pixels(batch, height, width, 3)).to(device), contract.backbone)
        size = torch.tensor([float(each) for each in POSEFORMER_SIZE], device=device)
        return crops, uniform(batch, 17, 2) - 0.5, uniform(batch, 17, 2) * size
    if isinstance(contract, FromPatches):
        patch = contract.patch
        return (normalised_patches(pixels(batch, patch.height, patch.width, 3), device),)
    return (uniform(batch, len(contract.input_joints), 2) - 0.5,)


def _camera(turned: float, side: int) -> torch.Tensor:
    """The projection (3, 4) of a camera at a height of 0, `turned` around the vertical."""
    cosine, sine = np.cos(turned), np.sin(turned)
    pose = torch.tensor([[cosine, sine, 0, 0], [0, 0, -1, 0], [-sine, cosine, 0, 5000]], dtype=torch.float32)
    return torch.tensor([[1.3 * side, 0, side / 2], [0, 1.3 * side, side / 2], [0, 0, 1]]) @ pose


def _scale(model: str, contract: Contract) -> tuple[float, str]:
    if isinstance(contract, FromPatches):
        return _PATCH_MM, "mm"
    if isinstance(contract, FromCrops):
        return contract.mm_per_unit, "mm"
    if isinstance(contract, FromViews):
        return 1.0, "mm"
    return (1.0, "deviations") if model in _LIFTERS_IN_DEVIATIONS else (1000.0, "mm")
