"""Images a second of ContextPose beside the official order of operations, with the same weights and input, in one run.

    python benchmarks/speed/contextpose_forward.py [--batch N] [--repeat N] [--threads N] [--device D]

The official order is re-created here in our own words from its description: cameras copied in each forward, coordinates
built anew, a loop over samples and views to unproject, 32 explicit products of (batch, 3, voxels, voxels) in the
attention and a 51-channel volume for each joint, the volume's softmax twice, the attention's target in evaluation too.
Its limb matrices are made before the clock starts, as its first call keeps them. Both must give the same joints.
Evidence goes to benchmarks/results/contextpose_forward_<device>.json.
"""

from __future__ import annotations

import argparse
import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.benchmarks.speed.clocks import fastest_in_turns
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.models import create_model
from h36m_toolbox.models.context_attention import JOINT_CHANNELS, LIMBS, ContextAttention
from h36m_toolbox.models.contextpose import ContextPose
from h36m_toolbox.models.volumes import coordinate_volumes, scaled_projections, soft_argmax_3d, voxel_offsets
from h36m_toolbox.models.volumetric_losses import attention_target

TOLERANCE_MM = 0.05


class OfficialAttention(nn.Module):
    """The attention of `layer`, product after product."""

    def __init__(self, layer: ContextAttention, side: int, device: torch.device) -> None:
        super().__init__()
        self.layer = layer
        steps = torch.arange(side, device=device)
        kernels = layer.kernels(side, device)[:, (steps[:, None] - steps).abs()]  # (limbs, x, x, yz, yz)
        whole = kernels.permute(0, 1, 3, 2, 4).reshape(len(LIMBS), side**3, side**3)
        self.matrices = whole / whole.sum(2, keepdim=True)

    def forward(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        layer, joints = self.layer, self.layer.joints
        own = layer.W_pi(volumes)
        attention = layer.atten_conv(volumes).flatten(2).softmax(2)
        looks = own.flatten(2).unflatten(1, (joints, JOINT_CHANNELS)) * attention[:, :, None]
        shared = looks.sum(3).flatten(1)[..., None]  # (batch, channels, 1)
        nearby: dict[tuple[int, int], torch.Tensor] = {}
        for matrix, (a, b) in zip(self.matrices, LIMBS, strict=True):
            for source, target in ((a, b), (b, a)):
                products = matrix * looks[:, source, :, None, :]  # (batch, 3, voxels, voxels)
                mass = (matrix * attention[:, source, None, :]).sum(2)
                nearby[source, target] = products.sum(3) / mass[:, None]
        outputs = []
        for joint, linear in enumerate(layer.convlist):
            context = shared.repeat(1, 1, attention.shape[2])
            for (source, target), found in nearby.items():
                if target == joint:
                    context[:, JOINT_CHANNELS * source : JOINT_CHANNELS * (source + 1)] = found
            outputs.append(linear(context.reshape(volumes.shape)))
        return torch.cat(outputs, dim=1) + own, attention


def official_forward(
    model: ContextPose, images: torch.Tensor, projections: torch.Tensor, base: torch.Tensor, truth: torch.Tensor
) -> torch.Tensor:
    """Joints (batch, joints, 3), mm; `model` has an `OfficialAttention`."""
    batch, views = images.shape[:2]
    config = model.config
    maps = model.process_features(model.backbone(images.flatten(0, 1)).features).unflatten(0, (batch, views))
    size = maps.shape[-1]
    cameras = copy.deepcopy(projections)
    cameras = scaled_projections(cameras, (size / images.shape[-1], size / images.shape[-2]))
    grids = []
    for sample in range(batch):
        offsets = voxel_offsets(config.cuboid_mm, config.voxels, images.device)
        grids.append(coordinate_volumes(base[sample : sample + 1], offsets, base.new_zeros(1))[0])
    coordinates = torch.stack(grids)
    lifted = maps.new_zeros(batch, maps.shape[2], *coordinates.shape[1:4])
    for sample in range(batch):
        seen = []
        for view in range(views):
            points = F.pad(coordinates[sample].reshape(-1, 3), (0, 1), value=1.0) @ cameras[sample, view].T
            depth = torch.where(points[:, 2:] == 0, 1.0, points[:, 2:])
            places = 2 * (points[:, :2] / depth / (size - 1) - 0.5)
            values = F.grid_sample(maps[sample, view][None], places[None, :, None], align_corners=True)[0, :, :, 0]
            seen.append(torch.where(points[:, 2] > 0, values, 0.0).reshape(lifted.shape[1:]))
        stacked = torch.stack(seen)
        lifted[sample] = (stacked * stacked.softmax(0)).sum(0)
    volumes, _ = model.volume_net(lifted)
    volumes.flatten(2).softmax(2)  # for joints in voxels, which nobody uses
    joints, _ = soft_argmax_3d(volumes * config.volume_multiplier, coordinates)
    attention_target(coordinates[:, ::4, ::4, ::4], truth)
    return joints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=152)
    parser.add_argument("--voxels", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    device = torch.device(asked.device)
    limbs = {"mean": np.linspace(120, 450, 16).tolist(), "std": [20.0] * 16}
    options = {"layers": asked.layers, "voxels": asked.voxels, "volume_std": 0.05}
    model = create_model("contextpose", **options, limbs=limbs).to(device).eval()
    assert isinstance(model, ContextPose)
    images = torch.randn(asked.batch, 1, 3, 384, 384, device=device)
    camera = torch.tensor([[500.0, 0, 192, 192 * 5000], [0, 500, 192, 192 * 5000], [0, 0, 1, 5000]], device=device)
    projections = camera.expand(asked.batch, 1, 3, 4)
    base = torch.zeros(asked.batch, 3, device=device)
    truth = torch.randn(asked.batch, 17, 3, device=device) * 400
    official = copy.deepcopy(model)
    block = official.volume_net.encoder_decoder.mid_res
    block.register_module("atten_conv", OfficialAttention(block.atten_conv, asked.voxels // 4, device))

    def ours() -> torch.Tensor:
        return model(images, projections, base).joints_3d

    def theirs() -> torch.Tensor:
        return official_forward(official, images, projections, base, truth)

    with torch.inference_mode():
        difference = float((ours() - theirs()).abs().max())  # also the first call, which is not measured
        assert difference < TOLERANCE_MM, f"joints differ by {difference} mm"
        times = fastest_in_turns({"ours": ours, "official_order": theirs}, device, asked.repeat)
    per_image = {name: each / asked.batch for name, each in times.items()}
    measured = {
        "settings": vars(asked),
        "seconds_per_image": per_image,
        "images_per_s": {name: 1 / value for name, value in per_image.items()},
        "speedup": per_image["official_order"] / per_image["ours"],
        "largest_difference_mm": difference,
    }
    path = keep_evidence(f"contextpose_forward_{device.type}", measured, ("torch", "numpy"))
    print(f"{measured['speedup']:.2f} times the official order's images/s; joints within {difference:.1e} mm; {path}")


if __name__ == "__main__":
    main()
