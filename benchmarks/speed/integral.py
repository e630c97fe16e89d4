"""Patches a second of integral regression's loader, and its soft-argmax, beside the straightforward ones, in one run.

    python benchmarks/speed/integral.py [--images N] [--repeat N]

Straightforward, in our own words: a sample at a time, cv2 reads the image and reverses it, finds the map by three
points, warps, and numpy scales, clips and normalises each colour in turn; the soft-argmax spreads the softmax over
every cell, sums the whole volume for each axis and weighs the sums with an index array. Ours: `Mixture.sample` in one
thread and in as many as training has, and `soft_argmax`. Places agree within 1e-6, patches but for one grey level
in at most 0.05 % of the values: cv2 rounds a map to 1/32 px, and two roundings of one map may fall to either side. CPU
seconds in turns, wall seconds for what runs in threads. Images are noise, 1000 x 1000, as smooth as photographs are.
Evidence goes to benchmarks/results/integral.json.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.models.integral import soft_argmax
from h36m_toolbox.models.integral_data import Mixture, read_batches
from h36m_toolbox.pose_datasets.patches import Augmentation, Patch, drawn_augmentation
from h36m_toolbox.pose_datasets.people import People

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SIZE, BATCH, JOINTS, DEPTH, SIDE = 256, 16, 18, 64, 64
THREADS = 4  # of training


def made_people(folder: Path, count: int) -> People:
    """Images of smooth noise with one person each."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = rng.integers(0, 256, (63, 63, 3), dtype=np.uint8)
        paths.append(folder / f"{number:05d}.jpg")
        cv2.imwrite(str(paths[-1]), cv2.resize(coarse, (1000, 1000), interpolation=cv2.INTER_CUBIC))
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


def least(works: Mapping[str, Callable[[], object]], repeat: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of each, the least of `repeat` turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            start = clock()
            work()
            times[name].append(clock() - start)
    return {name: min(each) for name, each in times.items()}


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

    for one, other in zip(theirs(), mine(), strict=True):
        apart = np.abs(one - other)
        assert apart.max() < 0.021 and (apart > 1e-5).mean() < 0.0005, (
            "the patches are not those of the straightforward loader"
        )
    seconds = least({"straightforward": theirs, "ours": mine}, repeat, time.process_time)
    seconds |= least({"ours, 4 threads, wall": threaded}, repeat, time.perf_counter)
    return {name: len(people) / each for name, each in seconds.items()}


def soft_argmaxes(repeat: int) -> dict[str, float]:
    """Milliseconds a batch of four."""
    volumes = torch.randn(4, JOINTS * DEPTH, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 3
    assert torch.allclose(soft_argmax(volumes, JOINTS), materialised(volumes), atol=1e-6)
    works = {"materialised": lambda: materialised(volumes), "ours": lambda: soft_argmax(volumes, JOINTS)}
    return {name: 1000 * each for name, each in least(works, repeat, time.process_time).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder, torch.inference_mode():
        patches = loaders(made_people(Path(folder), asked.images), asked.repeat)
        places = soft_argmaxes(asked.repeat)
    speedup = {
        "loader": patches["ours"] / patches["straightforward"],
        "soft-argmax": places["materialised"] / places["ours"],
    }
    measured = {"patches_per_s": patches, "soft_argmax_ms": places, "speedup": speedup}
    path = keep_evidence("integral", {"settings": vars(asked), **measured}, ("simplejpeg", "numpy", "torch"))
    print(
        f"{speedup['loader']:.2f} times the straightforward loader's patches/s per core ({patches['ours']:.0f}); "
        f"soft-argmax {speedup['soft-argmax']:.2f} times as fast; {path}"
    )


if __name__ == "__main__":
    main()
