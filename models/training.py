"""Trains a single-frame lifter: one step, and whole runs that can be interrupted and continued.

A continued run ends with the same weights as an uninterrupted one, bit for bit on the CPU.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.checkpoints import read_torch_file
from h36m_toolbox.models.processes import ALONE, Processes
from h36m_toolbox.models.recipes import Recipe, checked, learning_rate
from h36m_toolbox.storage.files import written_whole

log = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"
BEST = "checkpoint_best.pt"
LOG = "log.csv"


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class StepResult:
    """Loss and total gradient norm (before clipping) of one step, 0-d tensors on the model's device, and its rate."""

    loss: torch.Tensor
    grad_norm: torch.Tensor
    lr: float


@dataclass(frozen=True)
class EpochLog:
    """One row of the log; epochs and steps count from 1, `validation_mpjpe_mm` is NaN without validation."""

    epoch: int
    step: int
    lr: float
    train_loss: float
    validation_mpjpe_mm: float
    poses_per_s: float


@dataclass(frozen=True)
class TrainingResult:
    """Where a run left its checkpoints, and its log. `best` is None without validation."""

    last: Path
    best: Path | None
    epochs: tuple[EpochLog, ...]

    @property
    def notable_epochs(self) -> dict[str, EpochLog]:
        """The last epoch and, where epochs were validated, the best."""
        validated = [row for row in self.epochs if not math.isnan(row.validation_mpjpe_mm)]
        best = {"best": min(validated, key=lambda row: row.validation_mpjpe_mm)} if validated else {}
        return {"last": self.epochs[-1], **best}


Validate = Callable[[nn.Module], float]  # model -> MPJPE, mm
Progress = Callable[[int, int, int], None]  # epoch, finished steps of it, all steps of it
Watch = Callable[[tuple[EpochLog, ...]], None]  # all epochs so far, after each


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    """Adam (0.9, 0.999, 1e-8) over all parameters."""
    return torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    step: int,
    recipe: Recipe,
    weight: float = 1.0,
) -> StepResult:
    """Forward, mean squared error, backward, clipping and Adam step number `step` (from 1) on one batch.

    `inputs` are (batch, joints, 2) and `targets` (batch, joints, 3), or both flat. The model must be in train mode.
    `weight` multiplies the gradients but not the loss told: a process's share of a batch that several share unevenly.
    """
    lr = learning_rate(step, recipe)
    for group in optimizer.param_groups:
        group["lr"] = lr
        if recipe.epsilon_before_correction:
            group["eps"] = 1e-8 / math.sqrt(1 - group["betas"][1] ** step)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        outputs = model(inputs)
    first = 0 if recipe.root_in_loss or outputs.ndim == 2 else 1
    outputs = outputs[:, first:].to(targets.dtype)
    # an empty share has no mean, but takes part in the exchange
    loss = F.mse_loss(outputs, targets[:, first:]) if len(inputs) else outputs.sum()
    optimizer.zero_grad()
    (loss if weight == 1 else loss * weight).backward()
    bound = math.inf if recipe.clip_norm is None else recipe.clip_norm
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), bound)
    optimizer.step()
    return StepResult(loss.detach(), grad_norm, lr)


def train(
    model: nn.Module,
    inputs: np.ndarray,
    targets: np.ndarray,
    recipe: Recipe,
    out_dir: Path,
    device: torch.device | str = "cpu",
    validate: Validate | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    normaliser: Mapping[str, np.ndarray] | None = None,
    processes: Processes = ALONE,
) -> TrainingResult:
    """Trains `model` in place and writes checkpoints and log.csv to `out_dir` after every epoch.

    `inputs` (poses, joints, 2) and `targets` (poses, joints, 3), float32, lie whole on the device. A run that `out_dir`
    already holds is continued; its recipe may differ in `epochs` only. checkpoint_best.pt is the epoch with the lowest
    `validate(model)`. `normaliser` is what the checkpoints keep of the units. Several `processes` share each batch,
    with the gradients and batch statistics of the whole one. An H36MError tells a run that does not match or a loss
    that is no longer finite.
    """
    device = torch.device(device)
    checked(recipe)
    if len(inputs) != len(targets) or len(inputs) < 2:
        raise H36MError(f"training needs at least two inputs and as many targets; got {len(inputs)} and {len(targets)}")
    model.to(device)
    run = _Run(
        model=model,
        optimizer=make_optimizer(model, recipe),
        recipe=recipe,
        shuffler=torch.Generator().manual_seed(recipe.seed),
        poses=len(inputs),
        data_sha256=_sha256_of_arrays(inputs, targets),
        normaliser={name: torch.from_numpy(values) for name, values in (normaliser or {}).items()},
        processes=processes,
    )
    data = torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        epochs = _resumed(run, out_dir / LAST, device) if (out_dir / LAST).exists() else ()
        for epoch in range(len(epochs) + 1, recipe.epochs + 1):
            row = _epoch(run, data, epoch, epochs[-1].step if epochs else 0, progress)
            _finite(row.train_loss, "training loss", epoch)
            if validate is not None:
                with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                    row = replace(row, validation_mpjpe_mm=_finite(float(validate(model)), "validation error", epoch))
            epochs = (*epochs, row)
            if processes.is_first:
                _save(run, epochs, out_dir, device)
                if watch is not None:
                    watch(epochs)
            log.info("epoch %d: loss %.6g, validation %.2f mm", epoch, row.train_loss, row.validation_mpjpe_mm)
    validated = any(not math.isnan(row.validation_mpjpe_mm) for row in epochs)
    return TrainingResult(out_dir / LAST, out_dir / BEST if validated else None, epochs)


@dataclass(frozen=True, eq=False)
class _Run:
    """What changes from step to step, and what it changes by."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    shuffler: torch.Generator
    poses: int
    data_sha256: str
    normaliser: dict[str, torch.Tensor]
    processes: Processes


def _epoch(
    run: _Run, data: tuple[torch.Tensor, torch.Tensor], epoch: int, step: int, progress: Progress | None
) -> EpochLog:
    started = time.perf_counter()
    device = data[0].device
    model = run.model.train()
    if run.processes.count > 1:
        torch.manual_seed(hash((run.recipe.seed, epoch, run.processes.rank)))  # no two processes drop the same
        model = DistributedDataParallel(model, [device] if device.type == "cuda" else None, broadcast_buffers=False)
    order = torch.randperm(run.poses, generator=run.shuffler).to(device)
    batches = _batches(order, run.recipe)
    total = torch.zeros((), dtype=torch.float64, device=device)  # summed on the device: no wait per step
    for finished, batch in enumerate(batches, start=1):
        share = batch[run.processes.share(len(batch))]
        inputs, targets = (values.index_select(0, share) for values in data)
        weight = len(share) * run.processes.count / len(batch)
        result = training_step(model, run.optimizer, inputs, targets, step + finished, run.recipe, weight)
        total += result.loss * len(share)
        if progress is not None:
            progress(epoch, finished, len(batches))
    if run.processes.count > 1:
        distributed.all_reduce(total)
    poses = sum(map(len, batches))
    return EpochLog(
        epoch=epoch,
        step=step + len(batches),
        lr=result.lr,
        train_loss=float(total) / poses,
        validation_mpjpe_mm=math.nan,
        poses_per_s=poses / (time.perf_counter() - started),
    )


def _batches(order: torch.Tensor, recipe: Recipe) -> tuple[torch.Tensor, ...]:
    """Slices of a permutation. A single pose that would be left over joins the last batch: batch norm needs two."""
    whole = len(order) // recipe.batch_size * recipe.batch_size
    if recipe.drop_last and whole:
        order = order[:whole]
    sizes = [len(part) for part in order.split(recipe.batch_size)]
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return order.split(sizes)


def _save(run: _Run, epochs: tuple[EpochLog, ...], out_dir: Path, device: torch.device) -> None:
    last = epochs[-1]
    content = {
        "state_dict": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "epoch": last.epoch,
        "step": last.step,
        "lr": last.lr,
        "error": last.validation_mpjpe_mm,
        "recipe": asdict(run.recipe),
        "poses": run.poses,
        "data_sha256": run.data_sha256,
        "epochs": [asdict(row) for row in epochs],
        "normaliser": run.normaliser,
        "rng": {"shuffler": run.shuffler.get_state(), **random_states(device)},
    }
    write_log(epochs, out_dir)
    write_checkpoints(content, out_dir, is_best(epochs))


def is_best(epochs: tuple[EpochLog, ...]) -> bool:
    """Whether the last epoch has the lowest validation error; never without validation, whose error is NaN."""
    earlier = (row.validation_mpjpe_mm for row in epochs[:-1] if not math.isnan(row.validation_mpjpe_mm))
    return epochs[-1].validation_mpjpe_mm < min(earlier, default=math.inf)


def write_checkpoints(content: dict[str, Any], out_dir: Path, best: bool) -> None:
    """Writes checkpoint_last.pt and, before it, checkpoint_best.pt if the epoch is the best so far."""
    for name in [BEST, LAST] if best else [LAST]:
        with written_whole(out_dir / name) as path:
            torch.save(content, path)


def random_states(device: torch.device) -> dict[str, torch.Tensor | None]:
    """The states of torch's own generators, for a checkpoint; `restore_random_states` takes them back."""
    return {
        "cpu": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Puts torch's own generators back to where `random_states` found them."""
    torch.set_rng_state(states["cpu"])
    if states["device"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)


def write_log(epochs: tuple[EpochLog, ...], out_dir: Path) -> None:
    """Writes log.csv, one row an epoch."""
    with written_whole(out_dir / LOG) as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(epochs[-1])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in epochs)


def _resumed(run: _Run, path: Path, device: torch.device) -> tuple[EpochLog, ...]:
    """Puts a run back to where its checkpoint was written, and returns its log."""
    content: Any = read_torch_file(path)
    if not isinstance(content, dict) or not {"recipe", "optimizer", "epochs", "rng"} <= content.keys():
        raise H36MError(f"{path}: not a checkpoint of this program's training; write to another folder")
    here = {**asdict(run.recipe), "poses": run.poses}
    there = {**content["recipe"], "poses": content["poses"]}
    changed = [f"{key} {there.get(key)}" for key in here if key != "epochs" and here[key] != there.get(key)]
    if _shapes(run.model.state_dict()) != _shapes(content["state_dict"]):
        changed.append("another network")
    if run.data_sha256 != content.get("data_sha256"):
        changed.append("other inputs or targets")
    if changed:
        found = ", ".join(changed)
        raise H36MError(f"{path}: a run with {found}; continue it with the same, or write to another folder")
    run.model.load_state_dict(content["state_dict"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.shuffler.set_state(content["rng"]["shuffler"])
    restore_random_states(content["rng"], device)
    return tuple(EpochLog(**row) for row in content["epochs"])


def _sha256_of_arrays(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _shapes(state_dict: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(values.shape) for name, values in state_dict.items()}


def _finite(value: float, what: str, epoch: int) -> float:
    if not math.isfinite(value):
        raise H36MError(f"the {what} became {value} in epoch {epoch}; check inputs and targets for NaN")
    return value
