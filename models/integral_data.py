"""Batches of disturbed patches from a mixture of data sets, read ahead in threads.

A sample's disturbance follows from seed, epoch and number alone, so an interrupted training goes on as if it had not
been, and no two threads or processes repeat each other's draws, as the official loader's processes do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.mixing import mixed_epochs
from h36m_toolbox.pose_datasets.patches import (
    AugmentationRanges,
    Patch,
    cut_patch,
    drawn_augmentation,
    normalised_patch,
    patch_labels,
)
from h36m_toolbox.pose_datasets.people import People, read_bgr

_AHEAD = 2  # batches that are read while one is learned from


class PatchBatch(NamedTuple):
    """What a step learns from."""

    patches: torch.Tensor  # (batch, 3, height, width), float32, normalised
    labels: torch.Tensor  # (batch, joints, 3), float32, fractions of the patch
    weights: torch.Tensor  # (batch, joints, 3)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Mixture:
    """Data sets that are learned from together; the first is seen whole in every epoch, the others as often."""

    sets: tuple[People, ...]
    patch: Patch
    ranges: AugmentationRanges = field(default_factory=AugmentationRanges)

    def __len__(self) -> int:
        return len(self.sets) * len(self.sets[0])

    def epoch(self, seed: int, epoch: int, frozen: bool = False) -> np.ndarray:
        """(data set, index) pairs (len(self), 2) of an epoch in random order."""
        drawn = np.random.default_rng((seed, 0 if frozen else epoch))
        pairs = next(mixed_epochs([len(people) for people in self.sets], drawn))
        return np.random.default_rng((seed, epoch, 1)).permutation(pairs)

    def sample(self, pair: np.ndarray, draws: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patch, label and weights of a pair, disturbed by the generators that start from `draws`.

        Raises H36MError for an image that is missing or damaged.
        """
        people, place = self.sets[int(pair[0])], int(pair[1])
        normal = np.random.default_rng(draws)
        disturbed = drawn_augmentation(normal, random.Random(int(normal.integers(1 << 62))), self.ranges)
        image = read_bgr(people.images[place])
        cut = cut_patch(image, people.boxes[place], self.patch, disturbed)
        one = slice(place, place + 1)
        labels, weights = patch_labels(
            people.joints[one], people.weights[one], people.boxes[one], image.shape[1], self.patch, disturbed
        )
        return normalised_patch(cut[..., ::-1], disturbed.color_rgb), labels[0], weights[0]


def read_batches(
    mixture: Mixture, parts: Sequence[np.ndarray], seed: int, epoch: int, first: Sequence[int], workers: int = 4
) -> Iterator[PatchBatch]:
    """A batch for each part (batch, 2) of an epoch's pairs; `first` has each part's place in the epoch."""
    if not parts or not all(map(len, parts)):
        raise H36MError(f"{len(mixture)} samples an epoch do not fill a batch; make batch_size smaller")
    with ThreadPoolExecutor(workers) as pool:

        def submitted(number: int) -> list[Future[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
            start = first[number]
            pairs = enumerate(parts[number], start)
            return [pool.submit(mixture.sample, pair, (seed, epoch, 2, place)) for place, pair in pairs]

        waiting = [submitted(number) for number in range(min(_AHEAD, len(parts)))]
        for number in range(len(parts)):
            reading = waiting.pop(0)
            if number + _AHEAD < len(parts):
                waiting.append(submitted(number + _AHEAD))
            samples = [each.result() for each in reading]
            yield PatchBatch(*(torch.from_numpy(np.stack(values)) for values in zip(*samples, strict=True)))
