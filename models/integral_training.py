"""Trains integral and direct regression by the published recipes: whole runs that can be interrupted.

A continued run ends with the same weights as an uninterrupted one, bit for bit on the CPU.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.checkpoints import read_checkpoint, read_torch_file
from h36m_toolbox.models.integral import DirectPose, IntegralPose
from h36m_toolbox.models.integral_data import Mixture, read_batches
from h36m_toolbox.models.integral_losses import LOSSES
from h36m_toolbox.models.integral_recipes import IntegralRecipe
from h36m_toolbox.models.processes import ALONE, Processes
from h36m_toolbox.models.resnet import ResNetTrunk
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

PatchModel = IntegralPose | DirectPose


def load_imagenet(trunk: ResNetTrunk, path: Path | str) -> None:
    """Start weights from a torchvision ResNet trained on ImageNet, its classifier left out.

    Raises H36MError, and leaves the trunk as it is, for another number of layers or another file.
    """
    own = trunk.state_dict()
    found = {name: values for name, values in read_checkpoint(path).state_dict.items() if not name.startswith("fc.")}
    counters = {name: values for name, values in own.items() if name.endswith(".num_batches_tracked")}
    found = counters | found  # files of PyTorch before 0.4.1 have none
    wrong = [name for name in {**own, **found} if name not in own or name not in found]
    wrong += [name for name in own if name in found and own[name].shape != found[name].shape]
    if wrong:
        raise H36MError(
            f"{path}: no weights of this ResNet: {len(wrong)} entries are missing, unexpected or of another shape, "
            f"such as {wrong[0]}; give torchvision's file for the model's number of layers"
        )
    trunk.load_state_dict(found)


def make_optimizer(model: nn.Module, recipe: IntegralRecipe) -> torch.optim.Adam:
    """Adam (0.9, 0.999, 1e-8); the official files' weight decay reaches its SGD only."""
    return torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)


def train(
    model: PatchModel,
    mixture: Mixture,
    recipe: IntegralRecipe,
    out_dir: Path,
    device: torch.device | str = "cpu",
    validate: Validate | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    workers: int = 4,
    processes: Processes = ALONE,
) -> TrainingResult:
    """Trains `model` in place; checkpoints and log.csv in `out_dir` after every epoch.

    A run that `out_dir` already holds is continued; its recipe may differ in `epochs` only. checkpoint_best.pt is the
    epoch with the lowest `validate(model)`. Several `processes` share each batch evenly, and batch norm looks at a
    process's own share, as officially. Raises H36MError for a run that does not match, a batch that does not divide
    among the processes, too few samples, and a loss that is no longer finite.
    """
    if recipe.batch_size % processes.count:
        raise H36MError(f"batches of {recipe.batch_size} do not divide among {processes.count} processes")
    device = torch.device(device)
    run = _Run(model.to(device), make_optimizer(model, recipe), mixture, recipe, processes, workers)
    epochs = _resumed(run, out_dir / LAST) if (out_dir / LAST).exists() else ()
    for epoch in range(len(epochs) + 1, recipe.epochs + 1):
        row = _epoch(run, device, epoch, epochs[-1].step if epochs else 0, progress)
        _check_finite(row.train_loss, "training loss", epoch)
        if validate is not None:
            row = replace(row, validation_mpjpe_mm=float(validate(model)))
            _check_finite(row.validation_mpjpe_mm, "validation error", epoch)
        epochs = (*epochs, row)
        if processes.is_first:
            _save(run, epochs, out_dir)
            if watch is not None:
                watch(epochs)
    return TrainingResult(out_dir / LAST, out_dir / BEST if validate else None, epochs)


@dataclass(frozen=True, eq=False)
class _Run:
    """What changes from step to step, and what it changes by."""

    model: PatchModel
    optimizer: torch.optim.Optimizer
    mixture: Mixture
    recipe: IntegralRecipe
    processes: Processes
    workers: int

    @property
    def described(self) -> dict[str, Any]:
        """What a continued run must have in common with the interrupted one."""
        sizes = ", ".join(str(len(people)) for people in self.mixture.sets)
        settings = {**asdict(self.recipe), **asdict(self.model.config), **asdict(self.mixture.patch), "sizes": sizes}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _epoch(run: _Run, device: torch.device, epoch: int, step: int, progress: Progress | None) -> EpochLog:
    started = time.perf_counter()
    recipe, processes = run.recipe, run.processes
    lr = recipe.learning_rate(epoch)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    model: nn.Module = run.model.train()
    if processes.count > 1:
        model = DistributedDataParallel(model, [device] if device.type == "cuda" else None, broadcast_buffers=False)
    pairs = run.mixture.epoch(recipe.seed, epoch, recipe.frozen_samples)
    size = recipe.batch_size // processes.count
    starts = range(0, len(pairs) - recipe.batch_size + 1, recipe.batch_size)  # whole batches only
    first = [start + processes.rank * size for start in starts]
    parts = [pairs[place : place + size] for place in first]
    total = torch.zeros((), dtype=torch.float64, device=device)  # summed on the device: no wait per step
    for number, batch in enumerate(read_batches(run.mixture, parts, recipe.seed, epoch, first, run.workers)):
        patches, labels, weights = (values.to(device, non_blocking=True) for values in batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            coordinates = model(patches)
        loss = LOSSES[recipe.loss](coordinates.float(), labels, weights)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        total += loss.detach()
        if progress is not None:
            progress(epoch, number + 1, len(parts))
    if processes.count > 1:
        distributed.all_reduce(total)
        _average_statistics(run.model, processes)
    seen = len(parts) * recipe.batch_size
    mean = float(total) / (len(parts) * processes.count)
    return EpochLog(epoch, step + len(parts), lr, mean, math.nan, seen / (time.perf_counter() - started))


def _average_statistics(model: nn.Module, processes: Processes) -> None:
    """Running means and variances of all processes, averaged; officially those of the first GPU are kept."""
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and name.endswith(("running_mean", "running_var")):
            distributed.all_reduce(buffer)
            buffer /= processes.count


def _save(run: _Run, epochs: tuple[EpochLog, ...], out_dir: Path) -> None:
    last = epochs[-1]
    content = {
        "state_dict": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "epoch": last.epoch,
        "step": last.step,
        "lr": last.lr,
        "error": last.validation_mpjpe_mm,
        "run": run.described,
        "epochs": [asdict(row) for row in epochs],
    }
    write_log(epochs, out_dir)
    write_checkpoints(content, out_dir, is_best(epochs))


def _resumed(run: _Run, path: Path) -> tuple[EpochLog, ...]:
    """Puts a run back to where its checkpoint was written, and returns its log."""
    content: Any = read_torch_file(path)
    if not isinstance(content, dict) or not {"run", "state_dict", "optimizer", "epochs"} <= content.keys():
        raise H36MError(f"{path}: not a checkpoint of this program's training; write to another folder")
    here, there = run.described, content["run"]
    changed = [f"{name} {there.get(name)}" for name in here if name != "epochs" and here[name] != there.get(name)]
    if changed:
        raise H36MError(f"{path}: a run with {', '.join(changed)}; continue it with the same, or write elsewhere")
    run.model.load_state_dict(content["state_dict"])
    run.optimizer.load_state_dict(content["optimizer"])
    return tuple(EpochLog(**row) for row in content["epochs"])


def _check_finite(value: float, what: str, epoch: int) -> None:
    if not math.isfinite(value):
        raise H36MError(f"the {what} became {value} in epoch {epoch}; try a lower learning rate, such as 1e-4")
