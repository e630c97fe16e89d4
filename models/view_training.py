"""Training a model that sees images, in runs that can be interrupted and continued.

Chance depends on seed, epoch and process alone, so a continued run ends as an uninterrupted one does.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.checkpoints import read_torch_file
from h36m_toolbox.models.pose_resnet import PoseResNet
from h36m_toolbox.models.processes import ALONE, Processes
from h36m_toolbox.models.training import (
    BEST,
    LAST,
    EpochLog,
    Progress,
    TrainingResult,
    Validate,
    Watch,
    is_best,
    write_checkpoints,
    write_log,
)
from h36m_toolbox.models.view_inference import batched
from h36m_toolbox.models.view_recipes import ViewRecipe
from h36m_toolbox.models.view_steps import ViewLosses, make_optimizer, set_rates, view_step
from h36m_toolbox.views.samples import ViewInput

log = logging.getLogger(__name__)

_AHEAD = 2  # batches that are read while one is computed


class TrainingViews(Protocol):
    """What is learnt from: samples by number, each with the cameras that saw it."""

    @property
    def cameras(self) -> tuple[tuple[int, ...], ...]:
        """Of each sample."""
        ...

    def __len__(self) -> int: ...

    def load_views(self, sample: int, cameras: tuple[int, ...]) -> ViewInput:
        """Some views of a sample; called from several threads."""
        ...

    def target(self, sample: int) -> np.ndarray:
        """World pose (joints, 3), mm, float32."""
        ...


@dataclass(frozen=True)
class ViewEpochLog(EpochLog):
    """One row of the log: means over the epoch's steps of each loss, before its weight, and of what is watched."""

    pose_loss: float
    cross_entropy: float
    attention_loss: float
    train_mpjpe_mm: float
    limb_length_error_mm: float
    grad_norm: float
    skipped_steps: int


def train_views(
    model: nn.Module,
    views: TrainingViews,
    recipe: ViewRecipe,
    out_dir: Path,
    device: torch.device | str = "cpu",
    validate: Validate | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    processes: Processes = ALONE,
    workers: int = 4,
) -> TrainingResult:
    """Trains `model` in place; checkpoints and log.csv go to `out_dir` after every epoch.

    A run that `out_dir` already holds is continued; its recipe may differ in `epochs` only. checkpoint_best.pt is the
    epoch with the lowest `validate(model)`. Each process takes batches of its own; batch statistics are shared on CUDA.
    An H36MError tells a run that does not match, too few samples, and a loss that is no longer finite.
    """
    if len(views) < recipe.batch_size * processes.count:
        raise H36MError(f"{len(views)} training samples do not fill {processes.count} batches of {recipe.batch_size}")
    device = torch.device(device)
    model.to(device)
    if recipe.frozen_backbone:
        model.get_submodule("backbone").requires_grad_(False)
    optimizer = make_optimizer(model, recipe)
    epochs = _resumed(model, optimizer, recipe, len(views), out_dir / LAST) if (out_dir / LAST).exists() else ()
    learner = model
    if processes.count > 1:
        if device.type == "cuda":
            learner = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        learner = DistributedDataParallel(learner, [device] if device.type == "cuda" else None)
    for epoch in range(len(epochs) + 1, recipe.epochs + 1):
        with ThreadPoolExecutor(workers) as pool:
            row = _epoch(learner, optimizer, views, recipe, epoch, epochs, device, processes, pool, progress)
        if validate is not None:
            row = replace(row, validation_mpjpe_mm=_finite(float(validate(model)), "validation error", epoch))
        epochs = (*epochs, row)
        if processes.is_first:
            _save(model, optimizer, recipe, len(views), epochs, out_dir)
            if watch is not None:
                watch(epochs)
        log.info("epoch %d: loss %.6g, validation %.2f mm", epoch, row.train_loss, row.validation_mpjpe_mm)
    validated = any(not math.isnan(row.validation_mpjpe_mm) for row in epochs)
    return TrainingResult(out_dir / LAST, out_dir / BEST if validated else None, epochs)


@dataclass(frozen=True, eq=False)
class _Batch:
    samples: list[int]
    cameras: list[tuple[int, ...]]
    angles: np.ndarray  # (batch,), radians


def _batches(views: TrainingViews, recipe: ViewRecipe, epoch: int, processes: Processes) -> list[_Batch]:
    """An epoch's batches of one process: samples without repetition, and views at the same positions for all.

    Position i is the i-th camera that saw a sample; a sample with fewer cameras than the others limits its batch, as
    officially.
    """
    order = np.random.default_rng([recipe.seed, epoch]).permutation(len(views))[processes.rank :: processes.count]
    rng = np.random.default_rng([recipe.seed, epoch, processes.rank + 1])
    steps = min(recipe.samples_per_epoch, len(views) // processes.count) // recipe.batch_size
    batches = []
    for step in range(steps):
        samples = order[step * recipe.batch_size : (step + 1) * recipe.batch_size].tolist()
        there = min(len(views.cameras[sample]) for sample in samples)
        count = min(there, int(rng.integers(recipe.least_views, recipe.most_views + 1)))
        positions = sorted(rng.permutation(there)[:count].tolist())
        cameras = [tuple(views.cameras[sample][place] for place in positions) for sample in samples]
        angles = rng.uniform(0, 2 * math.pi, len(samples)) if recipe.random_rotation else np.zeros(len(samples))
        batches.append(_Batch(samples, cameras, angles.astype(np.float32)))
    return batches


def _read_ahead(
    batches: list[_Batch], views: TrainingViews, pool: ThreadPoolExecutor
) -> Iterator[tuple[_Batch, list[ViewInput]]]:
    waiting = iter(batches)
    reading = []

    def submit(batch: _Batch) -> None:
        pairs = zip(batch.samples, batch.cameras, strict=True)
        reading.append((batch, [pool.submit(views.load_views, *pair) for pair in pairs]))

    for batch in islice(waiting, _AHEAD):
        submit(batch)
    while reading:
        batch, futures = reading.pop(0)
        for following in islice(waiting, 1):
            submit(following)
        yield batch, [future.result() for future in futures]


def _epoch(
    learner: nn.Module,
    optimizer: torch.optim.Adam,
    views: TrainingViews,
    recipe: ViewRecipe,
    epoch: int,
    earlier: tuple[EpochLog, ...],
    device: torch.device,
    processes: Processes,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> ViewEpochLog:
    started = time.perf_counter()
    learner.train()
    for module in learner.modules():
        if isinstance(module, PoseResNet) and recipe.frozen_backbone:
            module.eval()
    set_rates(optimizer, recipe, epoch)
    batches = _batches(views, recipe, epoch, processes)
    names = [field.name for field in fields(ViewLosses)]
    sums = torch.zeros(len(names) + 1, dtype=torch.float64, device=device)  # summed there: no wait a step
    skipped = 0
    for number, (batch, inputs) in enumerate(_read_ahead(batches, views, pool), start=1):
        arguments = batched(inputs, device)
        if inputs[0].base_point is not None:
            arguments = (*arguments, torch.from_numpy(batch.angles).to(device))
        target = torch.from_numpy(np.stack([views.target(sample) for sample in batch.samples])).to(device)
        losses, grad_norm = view_step(learner, optimizer, arguments, target, recipe)
        values = torch.stack([getattr(losses, name).detach() for name in names] + [grad_norm.detach()])
        if recipe.skip_nan and bool(values.isnan().any()):
            skipped += 1
        else:
            sums += values
        if progress is not None:
            progress(epoch, number, len(batches))
    if skipped == len(batches):
        raise H36MError(f"the training loss was NaN in every step of epoch {epoch}; check inputs and weights")
    means = dict(zip([*names, "grad_norm"], (sums / (len(batches) - skipped)).tolist(), strict=True))
    return ViewEpochLog(
        epoch=epoch,
        step=(earlier[-1].step if earlier else 0) + len(batches),
        lr=optimizer.param_groups[0]["lr"],
        train_loss=_finite(means.pop("total"), "training loss", epoch),
        validation_mpjpe_mm=math.nan,
        poses_per_s=len(batches) * recipe.batch_size * processes.count / (time.perf_counter() - started),
        skipped_steps=skipped,
        **means,
    )


def _save(
    model: nn.Module,
    optimizer: torch.optim.Adam,
    recipe: ViewRecipe,
    samples: int,
    epochs: tuple[EpochLog, ...],
    out_dir: Path,
) -> None:
    last = epochs[-1]
    content = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": last.epoch,
        "step": last.step,
        "error": last.validation_mpjpe_mm,
        "recipe": asdict(recipe),
        "samples": samples,
        "epochs": [asdict(row) for row in epochs],
    }
    write_log(epochs, out_dir)
    write_checkpoints(content, out_dir, is_best(epochs))


def _resumed(
    model: nn.Module, optimizer: torch.optim.Adam, recipe: ViewRecipe, samples: int, path: Path
) -> tuple[EpochLog, ...]:
    """Puts a run back to where its checkpoint was written, and returns its log."""
    content: Any = read_torch_file(path)
    if not isinstance(content, Mapping) or not {"recipe", "optimizer", "epochs", "samples"} <= content.keys():
        raise H36MError(f"{path}: not a checkpoint of such a training; write to another folder")
    here = {**asdict(recipe), "samples": samples}
    there = {**content["recipe"], "samples": content["samples"]}
    changed = [f"{name} {there.get(name)}" for name in here if name != "epochs" and here[name] != there.get(name)]
    shapes = {name: values.shape for name, values in model.state_dict().items()}
    if shapes != {name: values.shape for name, values in content["state_dict"].items()}:
        changed.append("another network")
    if changed:
        raise H36MError(f"{path}: a run with {', '.join(changed)}; continue it with the same, or write elsewhere")
    model.load_state_dict(content["state_dict"])
    optimizer.load_state_dict(content["optimizer"])
    return tuple(ViewEpochLog(**row) for row in content["epochs"])


def _finite(value: float, what: str, epoch: int) -> float:
    if not math.isfinite(value):
        raise H36MError(f"the {what} became {value} in epoch {epoch}; check inputs and weights for NaN")
    return value
