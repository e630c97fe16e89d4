"""What is measured of one model in one process: its forward in any execution, a bench, a step; a JSON line each.

Arithmetic is what torch counts: products and convolutions. Bytes are those that cannot be avoided: weights, inputs and
outputs once. The bound is the longer of the two at the peaks that a large product and a large copy reached in the same
run; convolutions by an algorithm of fewer operations than were counted can be faster than it.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from h36m_toolbox.benchmarks.runs.bench import BenchRequest, bench
from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles
from h36m_toolbox.benchmarks.speed.clocks import Work, seconds
from h36m_toolbox.benchmarks.speed.gpu_models import ENTRIES, Inputs, Ready, joints_of, ready_entry
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.execution import EXACT, PRECISIONS, Execution
from h36m_toolbox.models.view_models import FromViews

# What a device, a compiler or a model may end in: a result of its own, never a number.
FAILURES = (
    *(RuntimeError, H36MError, ValueError, TypeError, LookupError, AttributeError, OSError, ImportError),
    *(AssertionError, MemoryError, ArithmeticError),
)

_LABEL_NOISE = {"mm": 50.0, "deviations": 0.1}
_LEAST_S, _LEAST_TINY_S = 0.3, 0.0  # of repetitions
_CALLS_BEFORE = {False: 3, True: 2}  # as it is, compiled or captured, and, but in a trial, once more
_TINY_EVERY = 8  # frames a trial's bench takes one of

Measure = Callable[[Execution], dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """What one process does: peaks of the device, or of an entry forwards, benches or training, in each execution."""

    kind: Literal["peaks", "forward", "bench", "train"]
    device: str
    tiny: bool
    lines: Path  # to which a JSON line a result is added
    entry: str = ""
    executions: tuple[Execution, ...] = ()
    weights: Path | None = None
    data: Path | None = None
    runs: Path = Path()


def run_step(step: Step) -> None:
    """Do it, in a group of processes of its own; what goes wrong is a line too."""
    os.setpgrp()

    def keep(record: dict[str, Any]) -> None:
        with step.lines.open("a") as file:
            file.write(json.dumps(record) + "\n")

    @cache
    def measure() -> Measure:  # made once something is measured
        if step.kind == "forward":
            return forward_measure(step)
        return partial(measured_training if step.kind == "train" else measured_bench, step)

    try:
        if step.kind == "peaks":
            keep(peaks(step.device, step.tiny))
            return
        with _traced_only() if step.tiny else nullcontext():
            for execution in sorted(step.executions, key=lambda each: each.channels_last):  # weights stay laid out so
                left_out = _left_out(step, execution)
                record = {"left_out": left_out} if left_out else _result(measure(), execution)
                keep({"execution": asdict(execution), **record})
                if "failure" in record and _on_gpu(step.device):
                    torch.cuda.synchronize()  # raises where the device answers no more
    except FAILURES as error:  # of a device or a disk: another step may go on
        keep({"ended": _words(error)})


def _left_out(step: Step, execution: Execution) -> str:
    """Why an execution is not tried, or ""."""
    try:
        execution.check(step.device)
    except H36MError as refused:
        return str(refused)
    slow = step.kind != "forward" or not ENTRIES[step.entry].trial_bf16
    if step.tiny and slow and execution.precision == "bf16":
        return "a trial leaves out what takes minutes in bf16 without instructions for it"
    return ""


def _result(measure: Measure, execution: Execution) -> dict[str, Any]:
    """What was measured, or the words of what the device, the compiler or the model could not do."""
    try:
        return measure(execution)
    except FAILURES as failed:
        return {"failure": _words(failed)}


def peaks(device: str, tiny: bool) -> dict[str, Any]:
    """What the device is, and what it reaches in a large matrix product of each precision and in a copy."""
    side, on_gpu = (256 if tiny else 8192), _on_gpu(device)
    found: dict[str, Any] = {"device": device}
    if on_gpu:
        told = torch.cuda.get_device_properties(device)
        found = {"device": told.name, "memory_mb": told.total_memory / 1e6, "cuda": torch.version.cuda}
    one, other = torch.randn(2, side, side, device=device)
    for precision in PRECISIONS if on_gpu else ("fp32", "bf16"):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        factors = [each.bfloat16() if precision == "bf16" else each for each in (one, other)]
        found[f"{precision}_flop_per_s"] = 2 * side**3 / _median_s(partial(torch.matmul, *factors), device, tiny)
    source = torch.empty(1 << (20 if tiny else 30), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return found | {"bytes_per_s": 2 * len(source) / _median_s(lambda: target.copy_(source), device, tiny)}


def forward_measure(step: Step) -> Measure:
    """Measures rate, memory and moved poses of a batch in an execution.

    The labels of the MPJPE lie 50 mm of noise off the poses of the exact execution, so random weights have a score too.
    """
    ready = ready_entry(ENTRIES[step.entry].in_trial(step.tiny), step.device, step.weights)
    work = work_of(ready)
    with torch.inference_mode():
        reference = joints_of(EXACT.applied(ready.model)(*ready.inputs)).float().clone() * ready.scale
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1)).to(step.device)
    labels = reference + noise * _LABEL_NOISE[ready.unit]
    error = (reference - labels).norm(dim=-1).mean()

    def measure(execution: Execution) -> dict[str, Any]:
        found, took, peak_mb = _forward(ready, execution, step.device, step.tiny)
        poses = found.float() * ready.scale
        return {
            "batch": len(poses),
            "seconds": took,
            "images_per_s": ready.images / took,
            "peak_memory_mb": peak_mb,
            **work,
            "mpjpe_change": float((poses - labels).norm(dim=-1).mean() - error),
            "joints_moved": float((poses - reference).norm(dim=-1).mean()),
            "pose_size": float((reference - reference.mean(1, keepdim=True)).norm(dim=-1).mean()),
            "unit": ready.unit,
        }

    return measure


def measured_bench(step: Step, execution: Execution) -> dict[str, Any]:
    """A real `h36m bench` on frames on disk: what its predictions say that it took."""
    assert step.data is not None
    entry = ENTRIES[step.entry].in_trial(step.tiny)
    contract = entry.card.contract(**entry.options)
    request = BenchRequest(
        entry.model,
        step.data,
        detections="gt",
        weights=step.weights,
        device=step.device,
        options=entry.options,
        batch_size=entry.batch,
        test_subjects=("S9",),
        every=_TINY_EVERY if step.tiny and not entry.is_lifter else 1,
        files=ViewFiles(pelvis="gt") if isinstance(contract, FromViews) and contract.needs_pelvis else ViewFiles(),
        execution=execution,
    )
    recorded = bench(request, step.runs)
    assert recorded is not None
    made = recorded.report.provenance
    names = ("seconds", "poses_per_s", "images_per_s", "waiting_share", "peak_memory_mb")
    return {name: getattr(made, name) for name in names}


def measured_training(step: Step, execution: Execution) -> dict[str, Any]:
    """Steps of a recipe's batch: forward, the squares of its joints as loss, backward, Adam. Without reading data.

    Less than a published step by the losses of volumes and attention.
    """
    entry = ENTRIES[step.entry].in_trial(step.tiny)
    assert entry.training is not None
    batch = entry.training.batch
    ready = ready_entry(replace(entry, batch=batch), step.device, step.weights, training=True)
    optimizer = torch.optim.Adam(ready.model.parameters())
    executed = execution.applied(ready.model)

    def learn() -> None:
        optimizer.zero_grad()
        loss_of(executed, ready.inputs).backward()
        optimizer.step()

    _forget(step.device)
    took = _median_s(learn, step.device, step.tiny)
    return {"batch": batch, "seconds": took, "samples_per_s": batch / took, "peak_memory_mb": _peak_mb(step.device)}


def loss_of(model: nn.Module, inputs: Inputs) -> torch.Tensor:
    """Something to learn that costs nothing itself."""
    return joints_of(model(*inputs)).float().square().mean()


def work_of(ready: Ready) -> dict[str, int]:
    """Arithmetic and unavoidable bytes of a batch."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        joints = joints_of(ready.model(*ready.inputs))
    touched = (*ready.model.parameters(), *ready.inputs, joints)
    return {
        "flop": counter.get_total_flops(),
        "bytes": sum(each.numel() * each.element_size() for each in touched),
    }


def _forward(ready: Ready, execution: Execution, device: str, tiny: bool) -> tuple[torch.Tensor, float, float | None]:
    """Joints, seconds a batch, and the most memory that it held, MB; None on the CPU."""
    _forget(device)
    with torch.inference_mode():
        executed = execution.applied(ready.model)
        for _ in range(_CALLS_BEFORE[tiny]):
            found = joints_of(executed(*ready.inputs))
        took = _median_s(lambda: executed(*ready.inputs), device, tiny)
    return found, took, _peak_mb(device)


def _forget(device: str) -> None:
    """The memory of the execution before, with its graphs, and how much it was."""
    if _on_gpu(device):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mb(device: str) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 1e6 if _on_gpu(device) else None


def _median_s(work: Work, device: str, tiny: bool) -> float:
    """The median of as many calls as take a while."""
    times: list[float] = []
    for _ in range(0 if tiny else 2):
        work()
    while not times or sum(times) < (_LEAST_TINY_S if tiny else _LEAST_S):
        times.append(seconds(work, device))
    return median(times)


def _traced_only() -> AbstractContextManager[Any]:
    """torch.compile traces a model, as everywhere, and then runs it op by op: a trial needs no compiler."""
    return patch.object(torch, "compile", partial(torch.compile, backend="eager"))


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no words'])[0]}"
