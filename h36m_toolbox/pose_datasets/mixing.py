"""Which samples an epoch is made of where 2D and 3D data sets are mixed, and how an evaluation fills its last batch.

Facts from github.com/JimmySuen/integral-human-pose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from h36m_toolbox.errors import H36MError


def mixed_epochs(
    sizes: Sequence[int], rng: np.random.Generator | np.random.RandomState, frozen: bool = False
) -> Iterator[np.ndarray]:
    """Epoch after epoch of (data set, index) pairs, (len(sizes) * sizes[0], 2): so a batch is mixed evenly on average.

    The first data set whole and as many samples of each other one, from a permutation of its own that is drawn anew for
    each epoch; one with fewer samples is gone through again. The pairs are in order: shuffle them for training.
    `frozen` repeats the first epoch for ever, which is what the official loader does with its 16 worker processes: a
    training then sees the same 22,246 of the 120,000 samples of Human3.6M. Raises H36MError for an empty data set.
    """
    if not sizes or min(sizes) < 1:
        raise H36MError(
            f"data sets of {', '.join(map(str, sizes)) or 'no'} samples cannot be mixed; leave empty ones out"
        )
    epoch = _epoch(sizes, rng)
    while True:
        yield epoch
        epoch = epoch if frozen else _epoch(sizes, rng)


def _epoch(sizes: Sequence[int], rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
    count = sizes[0]
    drawn = (np.resize(rng.permutation(size), count) for size in sizes[1:])
    parts = [np.arange(count), *drawn]
    return np.concatenate([np.stack([np.full(count, number), part], axis=1) for number, part in enumerate(parts)])


def padded_order(samples: int, batch: int) -> np.ndarray:
    """Which samples an evaluation of the official program goes through, so that every batch is full.

    The first ones come again at the end, a whole batch of them where the batches are full anyway. Predictions of the
    second round are dropped, but they count in its validation loss.
    """
    if samples < 1 or batch < 1:
        raise H36MError(f"{samples} samples in batches of {batch}; expected at least one of each")
    return np.arange(samples + batch - samples % batch) % samples
