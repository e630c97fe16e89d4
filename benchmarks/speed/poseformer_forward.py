"""Images a second of Context-Aware PoseFormer beside the official order of operations, same weights, in one run.

    python benchmarks/speed/poseformer_forward.py [--backbone B] [--batch N] [--repeat N] [--device D]

The official order is re-created here in our own words from its description: a batch normalised as (n, h, w, 3) in float
and copied to (n, 3, h, w), every feature map sampled level by level before the samples are projected, attention through
explicit matrices. Ours is the network as `h36m bench` runs it. Both start from uint8 crops and must give the same
poses. On the CPU with one thread and with two, the whole network and, with maps given, the transformer alone. Evidence
goes to benchmarks/results/poseformer_forward_<backbone>_<device>.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.benchmarks.speed.clocks import fastest_in_turns
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.models import create_model
from h36m_toolbox.models.ca_poseformer import CAPoseFormer, crop_places
from h36m_toolbox.models.pose_transformer import CONTEXT_HEADS, HEADS, SAMPLES, Attention, Block, DeformableBlock
from h36m_toolbox.models.poseformer_inference import ready_to_predict
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch, normalised, poses_of

TOLERANCE_M = 1e-4
CHECKED = 4  # images, on which both must agree
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STATISTICS = {
    "hrnet_32": _IMAGENET,
    "hrnet_48": _IMAGENET,
    "cpn": ((122.7717 / 255, 115.9465 / 255, 102.9801 / 255), (1.0, 1.0, 1.0)),
}


def official_poses(model: CAPoseFormer, batch: PoseFormerBatch) -> torch.Tensor:
    """Poses (batch, 17, 3)."""
    maps = batch.maps
    if not maps:
        scaled = batch.images.float() / 255.0
        mean, deviation = (scaled.new_tensor(values) for values in STATISTICS[model.config.backbone])
        maps = model.backbone(((scaled - mean) / deviation).permute(0, 3, 1, 2).contiguous())
    return official_transformer(model, batch, maps)


def official_transformer(model: CAPoseFormer, batch: PoseFormerBatch, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The lifting network, operation after operation."""
    net, places = model.volume_net, crop_places(batch.joints_crop)
    tokens = [net.coord_embed(batch.joints_2d)]
    for embed, each in zip(net.feat_embed, maps, strict=True):
        sampled = F.grid_sample(each, places[:, :, None], padding_mode="zeros", align_corners=True)
        tokens.append(embed(sampled.squeeze(3).permute(0, 2, 1)))
    x = torch.stack(tokens, dim=1) + net.Spatial_pos_embed
    for block in net.context_blocks:
        assert isinstance(block, DeformableBlock)
        x = official_context(block, x, places, maps)
    size, levels, joints, width = x.shape
    x = x.permute(0, 2, 1, 3).reshape(size * joints, levels, width)
    for block in net.res_blocks:
        x = official_block(block, x)
    x = x.reshape(size, joints, levels * width)
    for block in net.joint_blocks:
        x = official_block(block, x)
    return net.head(x)


def official_context(
    block: DeformableBlock, tokens: torch.Tensor, places: torch.Tensor, maps: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """Maps are sampled level by level, and each sample is projected."""
    first, features = tokens[:, :1], tokens[:, 1:]
    size, levels, joints, _ = features.shape
    asked = block.norm1(features + first)
    weights = block.attention_weights(asked).view(size, levels, joints, CONTEXT_HEADS, SAMPLES).softmax(-1)
    offsets = block.sampling_offsets(asked).reshape(size, levels, joints, CONTEXT_HEADS * SAMPLES, 2).tanh()
    where = places[:, None, :, None] + offsets
    found = []
    for level, (each, project) in enumerate(zip(maps, block.embed_proj, strict=True)):
        sampled = F.grid_sample(each, where[:, level], padding_mode="border", align_corners=True)
        projected = project(sampled.permute(0, 2, 3, 1)).view(size, joints, CONTEXT_HEADS, SAMPLES, -1)
        found.append((projected * weights[:, level, ..., None]).sum(3).flatten(2))
    features = features + torch.stack(found, dim=1)
    features = features + block.mlp(block.norm2(features))
    return torch.cat([first, features], dim=1)


def official_block(block: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Attention through its matrices."""
    assert isinstance(block, Block)
    tokens = tokens + official_attention(block.attn, block.norm1(tokens))
    return tokens + block.mlp(block.norm2(tokens))


def official_attention(layer: Attention, tokens: torch.Tensor) -> torch.Tensor:
    rows, count, width = tokens.shape
    parts = layer.qkv(tokens).reshape(rows, count, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
    query, key, value = parts[0], parts[1], parts[2]
    mixing = ((query @ key.transpose(-2, -1)) * (width // HEADS) ** -0.5).softmax(dim=-1)
    return layer.proj((mixing @ value).transpose(1, 2).reshape(rows, count, width))


def given_batch(size: int, device: torch.device) -> PoseFormerBatch:
    """Random crops and joints."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 256, 192, 3), generator=random, dtype=torch.uint8)
    joints = torch.rand(size, 17, 2, generator=random)
    crop = joints * torch.tensor([192.0, 256.0])
    return PoseFormerBatch(images, joints * 2 - 1, crop, torch.zeros(size, 17, 3)).to(device)


def measured(model: CAPoseFormer, batch: PoseFormerBatch, backbone: str, repeat: int) -> dict[str, dict[str, float]]:
    """Images a second of both, by what is run, in turns."""
    device = batch.joints_2d.device
    ready = ready_to_predict(model)
    maps = model.backbone(normalised(batch.images[:CHECKED], backbone))
    maps = tuple(each.repeat(len(batch) // CHECKED, 1, 1, 1) for each in maps)
    on_maps = replace(batch, maps=maps)
    few = replace(batch, **{name: getattr(batch, name)[:CHECKED] for name in ("images", "joints_2d", "joints_crop")})
    works: dict[str, tuple[PoseFormerBatch, PoseFormerBatch]] = {
        "transformer": (on_maps, on_maps),
        "network": (batch, few),
    }
    found = {}
    for name, (given, checked) in works.items():
        difference = float((poses_of(ready, checked, backbone) - official_poses(model, checked)).abs().max())
        assert difference < TOLERANCE_M, f"{name}: poses differ by {difference} m"
        ours, theirs = partial(poses_of, ready, given, backbone), partial(official_poses, model, given)
        times = fastest_in_turns({"ours": ours, "official_order": theirs}, device, repeat)
        found[name] = {
            "ours_images_per_s": len(batch) / times["ours"],
            "official_order_images_per_s": len(batch) / times["official_order"],
            "speedup": times["official_order"] / times["ours"],
            "largest_difference_m": difference,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="hrnet_32", choices=["hrnet_32", "hrnet_48", "cpn"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.manual_seed(0)
    model = create_model("ca-poseformer", backbone=asked.backbone).to(device).eval()
    assert isinstance(model, CAPoseFormer)
    batch = given_batch(asked.batch, device)
    results = {}
    with torch.inference_mode():
        for threads in (1, 2) if device.type == "cpu" else (1,):
            torch.set_num_threads(threads)
            results[f"{threads} threads"] = measured(model, batch, asked.backbone, asked.repeat)
    path = keep_evidence(
        f"poseformer_forward_{asked.backbone}_{device.type}", {"settings": vars(asked), **results}, ("torch",)
    )
    for setting, by_work in results.items():
        ratios = ", ".join(f"{name} {values['speedup']:.2f}" for name, values in by_work.items())
        print(f"{setting}: times the official order's images/s: {ratios}; {path}")


if __name__ == "__main__":
    main()
