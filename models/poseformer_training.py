"""Trains Context-Aware PoseFormer by the paper's recipe: one step, and whole runs that can be interrupted.

Facts from github.com/QitaoZhao/ContextAware-PoseFormer. A continued run ends with the same weights as an uninterrupted
one, bit for bit on the CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.ca_poseformer import CAPoseFormer
from h36m_toolbox.models.checkpoints import read_torch_file
from h36m_toolbox.models.poseformer_data import Read
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch, poses_of
from h36m_toolbox.models.poseformer_recipes import PoseFormerRecipe
from h36m_toolbox.models.processes import ALONE, Processes
from h36m_toolbox.models.training import (
    BEST,
    LAST,
    EpochLog,
    Progress,
    TrainingResult,
    Validate,
    Watch,
    random_states,
    restore_random_states,
    write_checkpoints,
    write_log,
)


def make_optimizer(model: nn.Module, recipe: PoseFormerRecipe) -> torch.optim.AdamW:
    """AdamW (0.9, 0.999, 1e-8) over what is not frozen, in one group: biases, norms and positions decay too."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learnt, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def mean_joint_error(poses: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean distance over poses (batch, joints, 3) and all joints, the root as well, whose target is 0."""
    return torch.linalg.vector_norm(poses - targets, dim=-1).mean()


def training_step(
    predict: Callable[[], torch.Tensor], targets: torch.Tensor, optimizer: torch.optim.Optimizer, weight: float = 1.0
) -> torch.Tensor:
    """One step on what `predict()` gives, poses (batch, joints, 3); the loss before it, 0-d.

    `weight` multiplies the gradients but not the loss told: a process's share of a batch that several share unevenly.
    """
    poses = predict()
    # an empty share has no mean, but takes part in the exchange
    loss = mean_joint_error(poses.to(targets.dtype), targets) if len(targets) else poses.sum()
    optimizer.zero_grad()
    (loss if weight == 1 else loss * weight).backward()
    optimizer.step()
    return loss.detach()


def train(
    model: CAPoseFormer,
    rows: int,
    read: Read,
    recipe: PoseFormerRecipe,
    out_dir: Path,
    device: torch.device | str = "cpu",
    validate: Validate | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    data_sha256: str = "",
    processes: Processes = ALONE,
) -> TrainingResult:
    """Trains `model` in place on `rows` frames that `read` gives; checkpoints and log.csv after every epoch.

    A run that `out_dir` already holds is continued; its recipe may differ in `epochs` only, and `data_sha256` not at
    all. checkpoint_best.pt is the epoch with the lowest `validate(model)`, rounded to 0.1 mm, as officially. Several
    `processes` share each batch. An H36MError tells a run that does not match or a loss that is no longer finite; the
    official program skips a step whose loss is NaN.
    """
    if rows < 1:
        raise H36MError("training needs frames; there are none")
    device = torch.device(device)
    model.to(device)
    run = _Run(
        model=model,
        optimizer=make_optimizer(model, recipe),
        recipe=recipe,
        random=torch.Generator().manual_seed(recipe.seed),
        rows=rows,
        read=read,
        data_sha256=data_sha256,
        processes=processes,
    )
    on_gpu = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(recipe.seed)
        epochs = _resumed(run, out_dir / LAST, device) if (out_dir / LAST).exists() else ()
        for epoch in range(len(epochs) + 1, recipe.epochs + 1):
            row = _epoch(run, device, epoch, epochs[-1].step if epochs else 0, progress)
            _check_finite(row.train_loss, "training loss", epoch)
            if validate is not None:
                with torch.random.fork_rng(devices=on_gpu):
                    row = replace(row, validation_mpjpe_mm=float(validate(model)))
                _check_finite(row.validation_mpjpe_mm, "validation error", epoch)
            epochs = (*epochs, row)
            if processes.is_first:
                _save(run, epochs, out_dir, device)
                if watch is not None:
                    watch(epochs)
    return TrainingResult(out_dir / LAST, out_dir / BEST if validate else None, epochs)


@dataclass(frozen=True, eq=False)
class _Run:
    """What changes from step to step, and what it changes by."""

    model: CAPoseFormer
    optimizer: torch.optim.Optimizer
    recipe: PoseFormerRecipe
    random: torch.Generator  # of the order of frames and of the coins
    rows: int
    read: Read
    data_sha256: str
    processes: Processes


def _epoch(run: _Run, device: torch.device, epoch: int, step: int, progress: Progress | None) -> EpochLog:
    started = time.perf_counter()
    recipe, processes = run.recipe, run.processes
    lr = recipe.lr * recipe.decay ** (epoch - 1)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    model: nn.Module = run.model.train()
    if processes.count > 1:
        torch.manual_seed(hash((recipe.seed, epoch, processes.rank)))  # no two processes drop the same
        model = DistributedDataParallel(model, [device] if device.type == "cuda" else None, broadcast_buffers=False)
    parts = torch.randperm(run.rows, generator=run.random).split(recipe.batch_size)
    coins = torch.rand(len(parts), generator=run.random) <= 0.5
    shares = [part[processes.share(len(part))].numpy() for part in parts]
    total = torch.zeros((), dtype=torch.float64, device=device)  # summed on the device: no wait per step
    for number, batch in enumerate(run.read(shares)):
        on_device = batch.to(device)
        seen = on_device.mirrored() if recipe.mirrored and coins[number] else on_device
        weight = len(batch) * processes.count / len(parts[number])
        loss = training_step(partial(_poses, model, run, seen), seen.targets, run.optimizer, weight)
        total += loss * len(batch)
        if progress is not None:
            progress(epoch, number + 1, len(parts))
    if processes.count > 1:
        distributed.all_reduce(total)
    seconds = time.perf_counter() - started
    return EpochLog(epoch, step + len(parts), lr, float(total) / run.rows, math.nan, run.rows / seconds)


def _poses(model: nn.Module, run: _Run, batch: PoseFormerBatch) -> torch.Tensor:
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=run.recipe.precision == "bf16"):
        return poses_of(model, batch, run.model.config.backbone)


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
        "config": asdict(run.model.config),
        "rows": run.rows,
        "data_sha256": run.data_sha256,
        "epochs": [asdict(row) for row in epochs],
        "rng": {"order": run.random.get_state(), **random_states(device)},
    }
    write_log(epochs, out_dir)
    rounded = [round(row.validation_mpjpe_mm, 1) for row in epochs]  # NaN without validation: never below
    write_checkpoints(content, out_dir, rounded[-1] < min(rounded[:-1], default=math.inf))


def _resumed(run: _Run, path: Path, device: torch.device) -> tuple[EpochLog, ...]:
    """Puts a run back to where its checkpoint was written, and returns its log."""
    content: Any = read_torch_file(path)
    if not isinstance(content, dict) or not {"recipe", "config", "optimizer", "epochs", "rng"} <= content.keys():
        raise H36MError(f"{path}: not a checkpoint of this program's training; write to another folder")
    here = {**asdict(run.recipe), **asdict(run.model.config), "rows": run.rows, "data_sha256": run.data_sha256}
    there = {**content["recipe"], **content["config"], **{key: content.get(key) for key in ("rows", "data_sha256")}}
    changed = [f"{key} {there.get(key)}" for key in here if key != "epochs" and here[key] != there.get(key)]
    if changed:
        found = ", ".join(changed)
        raise H36MError(f"{path}: a run with {found}; continue it with the same, or write to another folder")
    run.model.load_state_dict(content["state_dict"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.random.set_state(content["rng"]["order"])
    restore_random_states(content["rng"], device)
    return tuple(EpochLog(**row) for row in content["epochs"])


def _check_finite(value: float, what: str, epoch: int) -> None:
    if not math.isfinite(value):
        raise H36MError(f"the {what} became {value} in epoch {epoch}; check inputs and targets for NaN")
