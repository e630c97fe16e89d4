"""Integral regression beside the straightforward order of operations, in one run: loader, soft-argmax, whole forward.

    python benchmarks/speed/integral.py [--images N] [--repeat N]

Straightforward, in our own words: a sample at a time, cv2 reads the image and reverses it, finds the map by three
points, warps, and numpy scales, clips and normalises each colour in turn; the network is the same, and the soft-argmax
spreads the softmax over every cell, sums the whole volume for each axis and weighs the sums with an index array. Ours:
`Mixture.sample` in one thread and in as many as training has, `soft_argmax`, and the model as `h36m bench` runs it.
Places agree within 1e-6, patches but for one grey level in at most 0.05 % of all values: cv2 rounds a map to 1/32 px,
and two roundings of one map may fall to either side, for a whole column where the map is not turned. The loader's
floor, measured beside it, is cv2's decoding of the same files and nothing else. CPU seconds in turns, wall seconds for
what runs in threads; peak memory of processes that do one thing once, above what they held before. Images are noise,
1000 x 1002 and 1000 x 1000, as smooth as photographs are; the forward is R50, 256 x 256, a batch of eight on one
thread. Evidence goes to benchmarks/results/integral.json.
"""

from __future__ import annotations

import argparse
import random
import resource
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from h36m_toolbox.benchmarks.speed.clocks import cpu_seconds, fastest, fastest_in_turns, in_turns
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.processes import apart
from h36m_toolbox.models import create_model
from h36m_toolbox.models.integral import IntegralPose, soft_argmax
from h36m_toolbox.models.integral_data import Mixture, read_batches
from h36m_toolbox.pose_datasets.patches import Augmentation, Patch, drawn_augmentation
from h36m_toolbox.pose_datasets.people import People

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SIZE, BATCH, JOINTS, DEPTH, SIDE = 256, 16, 18, 64, 64
FORWARD_BATCH = 8
HEIGHTS = (1002, 1000)  # of cameras 1 and 4, of cameras 2 and 3
THREADS = 4  # of training


def made_people(folder: Path, count: int) -> People:
    """Images of smooth noise, of each height in turn, with one person each."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = rng.integers(0, 256, (63, 63, 3), dtype=np.uint8)
        paths.append(folder / f"{number:05d}.jpg")
        cv2.imwrite(str(paths[-1]), cv2.resize(coarse, (1000, HEIGHTS[number % 2]), interpolation=cv2.INTER_CUBIC))
    boxes = np.concatenate([rng.uniform(400, 600, (count, 2)), np.repeat(rng.uniform(400, 700, (count, 1)), 2, 1)], 1)
    joints = np.concatenate([rng.uniform(300, 700, (count, JOINTS, 2)), rng.normal(0, 200, (count, JOINTS, 1))], 2)
    return People(tuple(paths), boxes, joints, np.ones_like(joints))


def straightforward(path: Path, box: np.ndarray, drawn: Augmentation) -> np.ndarray:
    """A float32 patch, (3, SIZE, SIZE)."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None
    x, y, width, height = box
    if drawn.mirrored:
        image, x = image[:, ::-1].copy(), image.shape[1] - 1 - x
    angle = np.deg2rad(drawn.rotation_deg)
    down = np.array([-np.sin(angle), np.cos(angle)]) * height * drawn.scale / 2
    right = np.array([np.cos(angle), np.sin(angle)]) * width * drawn.scale / 2
    center = np.array([x, y], np.float32)  # every point is rounded before it is added, as officially
    source = np.stack([center, center + down.astype(np.float32), center + right.astype(np.float32)])
    goal = np.array([(SIZE / 2, SIZE / 2), (SIZE / 2, SIZE), (SIZE, SIZE / 2)], np.float32)
    warped = cv2.warpAffine(image, cv2.getAffineTransform(source, goal), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    planes = np.transpose(warped[:, :, ::-1], (2, 0, 1)).astype(np.float32)
    for color in range(3):
        scaled = np.clip(planes[color] * drawn.color_rgb[color], 0, 255)
        planes[color] = (scaled - MEAN[color]) / DEVIATION[color]
    return planes


def materialised(volumes: torch.Tensor) -> torch.Tensor:
    """Places (batch, JOINTS, 3): each axis is summed from the whole volume and weighed with its indices."""
    cells = torch.softmax(volumes.reshape(len(volumes), JOINTS, -1), dim=2)
    cells = cells.reshape(len(volumes), JOINTS, DEPTH, SIDE, SIDE)
    sums = cells.sum(dim=2).sum(dim=2), cells.sum(dim=2).sum(dim=3), cells.sum(dim=3).sum(dim=3)
    places = [(each * torch.arange(each.shape[-1]).float()).sum(dim=2) / each.shape[-1] - 0.5 for each in sums]
    return torch.stack(places, dim=2)


def loaders(people: People, repeat: int) -> dict[str, float]:
    """Patches a second."""
    mixture = Mixture((people,), Patch(SIZE, SIZE))
    pairs = np.stack([np.zeros(len(people), int), np.arange(len(people))], axis=1)

    def drawn(place: int) -> Augmentation:
        normal = np.random.default_rng((0, 1, 2, place))
        return drawn_augmentation(normal, random.Random(int(normal.integers(1 << 62))), mixture.ranges)

    def theirs() -> list[np.ndarray]:
        return [straightforward(people.images[at], people.boxes[at], drawn(at)) for at in range(len(people))]

    def mine() -> list[np.ndarray]:
        return [mixture.sample(pairs[at], (0, 1, 2, at))[0] for at in range(len(people))]

    def threaded() -> None:
        parts = np.split(pairs, range(BATCH, len(pairs), BATCH))
        for _ in read_batches(mixture, parts, 0, 1, [number * BATCH for number in range(len(parts))], THREADS):
            pass

    def decoded() -> list[bool]:
        return [cv2.imread(str(path)) is None for path in people.images]

    distances = [np.abs(one - other) for one, other in zip(theirs(), mine(), strict=True)]
    differing = float(np.mean([(each > 1e-5).mean() for each in distances]))
    assert max(each.max() for each in distances) < 0.021 and differing < 0.0005, (
        f"the patches are not those of the straightforward loader, {differing:.2%} of the values differ"
    )
    works = {"straightforward": theirs, "ours": mine, "floor: decoding alone": decoded}
    took = fastest(in_turns(works, repeat, cpu_seconds))
    took |= fastest_in_turns({"ours, 4 threads, wall": threaded}, "cpu", repeat)
    return {name: len(people) / each for name, each in took.items()}


def soft_argmaxes(repeat: int) -> dict[str, float]:
    """Milliseconds a batch of four."""
    volumes = torch.randn(4, JOINTS * DEPTH, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 3
    assert torch.allclose(soft_argmax(volumes, JOINTS), materialised(volumes), atol=1e-6)
    works = {"materialised": lambda: materialised(volumes), "ours": lambda: soft_argmax(volumes, JOINTS)}
    return {name: 1000 * each for name, each in fastest(in_turns(works, repeat, cpu_seconds)).items()}


def network() -> tuple[IntegralPose, torch.Tensor]:
    """The model with random weights that give no NaN, and normalised patches."""
    torch.manual_seed(0)
    model = create_model("integral", layers=50, initial_std=None).eval()
    assert isinstance(model, IntegralPose)
    return model, torch.randn(FORWARD_BATCH, 3, SIZE, SIZE)


def forwards(repeat: int) -> dict[str, float]:
    """Milliseconds a batch of eight."""
    model, patches = network()
    distance = (model(patches) - materialised(model.volumes(patches))).abs().max()
    assert distance < 1e-6, f"the poses are {distance} apart"
    works = {"straightforward": lambda: materialised(model.volumes(patches)), "ours": lambda: model(patches)}
    return {name: 1000 * each for name, each in fastest(in_turns(works, repeat, cpu_seconds)).items()}


@torch.inference_mode()
def peak_mb(what: str) -> float:
    """Memory (MB) that one call needs at its peak, above what the process had; for a process of its own."""
    torch.set_num_threads(1)
    model, patches = network()
    volumes = torch.randn(FORWARD_BATCH, JOINTS * DEPTH, SIDE, SIDE) if "soft-argmax" in what else torch.empty(0)
    works: dict[str, Callable[[], object]] = {
        "straightforward soft-argmax": lambda: materialised(volumes),
        "our soft-argmax": lambda: soft_argmax(volumes, JOINTS),
        "straightforward forward": lambda: materialised(model.volumes(patches)),
        "our forward": lambda: model(patches),
    }
    before = _held_mb()
    works[what]()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000 * 1.024 - before


def _held_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peaks() -> dict[str, float]:
    """Peak memory (MB) of each, in a fresh process."""
    names = [f"{who} {what}" for what in ("soft-argmax", "forward") for who in ("straightforward", "our")]
    return {name: apart(peak_mb, name) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder, torch.inference_mode():
        patches = loaders(made_people(Path(folder), asked.images), asked.repeat)
        places = soft_argmaxes(asked.repeat)
        whole = forwards(asked.repeat)
    memory = peaks()
    speedup = {
        "loader": patches["ours"] / patches["straightforward"],
        "loader's floor": patches["floor: decoding alone"] / patches["straightforward"],
        "soft-argmax": places["materialised"] / places["ours"],
        "forward": whole["straightforward"] / whole["ours"],
    }
    measured = {
        "patches_per_s": patches,
        "soft_argmax_ms": places,
        "forward_ms": whole,
        "peak_mb_batch_of_8": memory,
        "speedup": speedup,
    }
    path = keep_evidence("integral", {"settings": vars(asked), **measured}, ("simplejpeg", "numpy", "torch"))
    floor = speedup["loader's floor"]
    share = patches["ours"] / patches["floor: decoding alone"]
    print(
        f"{speedup['loader']:.2f} times the straightforward loader's patches/s per core ({patches['ours']:.0f}); "
        f"cv2's decoding alone would be {floor:.2f} times, and is {share:.0%} of ours; "
        f"soft-argmax {speedup['soft-argmax']:.2f} times as fast, R50 forward of a batch of {FORWARD_BATCH} "
        f"{speedup['forward']:.2f} times ({whole['ours']:.0f} ms)"
    )
    print("peak MB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()))
    print(path)


if __name__ == "__main__":
    main()
