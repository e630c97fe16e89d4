"""Poses from images, batch after batch: the next samples are read in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.batch_sizes import Pieces, batch_size_for
from h36m_toolbox.models.devices import moved
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.test_time import Mirror, Predictor, averaged, mirrored_images, mirrored_poses
from h36m_toolbox.models.watching import Watch
from h36m_toolbox.skeletons import MULTIVIEW_17
from h36m_toolbox.views.crops import normalisation
from h36m_toolbox.views.samples import ViewInput

_ON_CPU = 4  # samples a batch: more of them are no faster there
_MOST = 64
_BYTES_A_SAMPLE = 3 << 29  # of a GPU, with room to spare; what is too much after all is halved
_AHEAD = 2  # batches that are read while one is computed


def default_batch_size(device: torch.device | str) -> int:
    """As many samples as the device's free memory surely takes."""
    return batch_size_for(device, _ON_CPU, _BYTES_A_SAMPLE, _MOST)


def predict(
    model: nn.Module,
    load: Callable[[int], ViewInput],
    views: Sequence[int],
    device: torch.device | str = "cpu",
    batch_size: int = _ON_CPU,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    execution: Execution = EXACT,
    watch: Watch | None = None,
    others: Sequence[nn.Module] = (),
    flip: bool = False,
) -> np.ndarray:
    """World poses (samples, joints, 3), mm, float32, of the samples 0, 1, ..., of which each has so many `views`.

    A batch holds samples of as many views, so none loses a camera to another. In eval mode; the model is moved to
    `device`, and whether it was training is restored. `load` is called from `workers` threads. Where CUDA's memory does
    not suffice batches are computed in pieces. `progress` is told how many samples of all are finished. The poses are
    averaged with those of `others`, an ensemble, and with those of the mirrored world where `flip` says so. H36MError
    where not even one sample fits, and where there is none.
    """
    if not views:
        raise H36MError("one of the processes has no sample to work on; start as many as there are samples, or fewer")
    training = model.training
    ready = [execution.applied(each.to(device).eval()) for each in (model, *others)]
    poses_of_batch = averaged([world_poses(network) for network in ready], VIEW_MIRROR, flip)
    watch, pieces = watch or Watch(device), Pieces(device)
    poses: dict[int, np.ndarray] = {}
    order = sorted(range(len(views)), key=lambda sample: (views[sample], sample))
    with torch.inference_mode(), ThreadPoolExecutor(workers) as pool:
        ahead = _Ahead(load, order, pool)
        while ahead.order:
            batch = ahead.order[:batch_size]
            batch = [sample for sample in batch if views[sample] == views[batch[0]]]
            with watch.waiting():
                samples = [each.result() for each in ahead.futures(batch, batch_size)]

            def found(part: slice, samples: list[ViewInput] = samples) -> np.ndarray:
                return poses_of_batch(batched(samples[part], device)).float().cpu().numpy()

            poses.update(zip(batch, pieces.computed(len(batch), found), strict=True))
            ahead.drop(batch)
            watch.saw(sum(views[sample] for sample in batch))
            if progress is not None:
                progress(len(poses), len(views))
    model.train(training)
    return np.stack([poses[sample] for sample in range(len(views))])


def world_poses(network: nn.Module) -> Predictor[tuple[torch.Tensor, ...]]:
    """From the arguments of a network's forward to its poses (batch, joints, 3), world, mm."""

    def predict(batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        poses: torch.Tensor = network(*batch).joints_3d
        return poses

    return predict


def mirrored_views(batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """What mirrored cameras see of the world mirrored at its plane x = 0: a scene as real as the one it came from.

    Images have their columns reversed. Cameras stay right-handed, since both their pixels and their world are mirrored:
    a point (-x, y, z) has the pixel (size - 1 - u, v) where (x, y, z) had (u, v). Base points have -x.
    """
    images, projections, *base = batch
    last = images.shape[-1] - 1
    pixels = projections.new_tensor([[-1, 0, last], [0, 1, 0], [0, 0, 1]])
    world = projections.new_tensor([-1, 1, 1, 1])
    return mirrored_images(images), pixels @ projections * world, *(points * world[:3] for points in base)


VIEW_MIRROR = Mirror(mirrored_views, lambda poses: mirrored_poses(poses, MULTIVIEW_17))


def normalised_images(images: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Views (batch, views, size, size, 3) uint8, blue green red, as the network takes them, on the device.

    Bytes travel to the device, not floats; within 1e-6 of the official float64 arithmetic.
    """
    pixels = moved(images, device).movedim(-1, 2)
    factor, shift = (torch.from_numpy(values).to(device)[:, None, None] for values in normalisation())
    return pixels.float() * factor + shift


class _Ahead:
    """Samples in order, the next of them being read already."""

    def __init__(self, load: Callable[[int], ViewInput], order: list[int], pool: ThreadPoolExecutor) -> None:
        self.order = order
        self._load, self._pool = load, pool
        self._reading: dict[int, Future[ViewInput]] = {}

    def futures(self, batch: list[int], batch_size: int) -> Iterator[Future[ViewInput]]:
        for sample in self.order[: _AHEAD * batch_size + len(batch)]:
            if sample not in self._reading:
                self._reading[sample] = self._pool.submit(self._load, sample)
        return (self._reading[sample] for sample in batch)

    def drop(self, batch: list[int]) -> None:
        self.order = self.order[len(batch) :]
        for sample in batch:
            del self._reading[sample]


def batched(samples: list[ViewInput], device: torch.device | str) -> tuple[torch.Tensor, ...]:
    """The arguments of a network's forward: images, projections and, where samples have them, base points."""
    images = normalised_images(np.stack([sample.images for sample in samples]), device)
    projections = moved(np.stack([sample.projections for sample in samples]), device)
    points = [sample.base_point for sample in samples if sample.base_point is not None]
    base = [moved(np.stack(points), device)] if points else []
    return images, projections, *base
