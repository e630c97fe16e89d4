"""Weights from files: official checkpoints of every layout and ours, read without running anything in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.legacy_checkpoints import ForbiddenNameError, read_legacy

# Where official programs keep the weights: SemGCN, weigq, CPN (and we); Context-Aware PoseFormer; Integral Human Pose.
_WEIGHT_KEYS = ("state_dict", "model", "network")
_ZIP = b"PK\x03\x04"
_SHOWN = 3


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class Checkpoint:
    """Weights by name, without a `module.` prefix, and what else the file tells in plain numbers and words.

    `weights_key` is the entry of the file that held the weights, None for a bare state dict. `values` are entries such
    as epoch, step, lr, error. `normaliser` is what our training measured on its training set, if anything.
    """

    state_dict: dict[str, torch.Tensor]
    weights_key: str | None
    values: dict[str, int | float | str]
    normaliser: dict[str, np.ndarray] = field(default_factory=dict)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """The weights of a PyTorch checkpoint: a state dict, or a dict that holds one; zip or old format.

    An H36MError says why a file is not a checkpoint, is damaged, or asks for more than tensors and plain values.
    """
    content = read_torch_file(path)
    entries: Mapping[Any, Any] = content if isinstance(content, Mapping) else {}
    values = {name: value for name, value in entries.items() if isinstance(value, int | float | str)}
    if _is_state_dict(entries):
        return Checkpoint(_without_module_prefix(entries), None, values)
    measured = entries.get("normaliser")
    normaliser = {name: tensor.numpy() for name, tensor in (measured or {}).items()} if _is_state_dict(measured) else {}
    for key in _WEIGHT_KEYS:
        if _is_state_dict(entries.get(key)):
            return Checkpoint(_without_module_prefix(entries[key]), key, values, normaliser)
    held = f"a dict with {', '.join(map(str, entries))}" if entries else f"an object of type {type(content).__name__}"
    raise H36MError(
        f"{path}: no weights in it; expected a state dict or a dict with {' or '.join(_WEIGHT_KEYS)}, found {held}"
    )


def load_weights(model: nn.Module, path: Path | str) -> Checkpoint:
    """Loads a checkpoint into a model, every entry and nothing else, and returns it.

    Accepts `non_local` for `nonlocal`, and files of PyTorch before 0.4.1, which have no batch-norm counters. An
    H36MError names the first entries that are missing, unexpected or of another shape; the model is then unchanged.
    """
    checkpoint = read_checkpoint(path)
    expected = model.state_dict()
    found = _with_counters(_renamed(checkpoint.state_dict, expected), expected)
    problems = [
        *_problem("missing", [name for name in expected if name not in found]),
        *_problem("unexpected", [name for name in found if name not in expected]),
        *_problem(
            "of another shape",
            [
                f"{name} (found {tuple(found[name].shape)}, expected {tuple(expected[name].shape)})"
                for name in expected
                if name in found and found[name].shape != expected[name].shape
            ],
        ),
    ]
    if problems:
        raise H36MError(
            f"{path}: the weights do not fit {type(model).__name__}: {'; '.join(problems)}. "
            "Create the model with the options it was trained with"
        )
    model.load_state_dict(found, strict=True)
    return checkpoint


def read_torch_file(path: Path | str) -> object:
    """What torch.save wrote, tensors on the CPU; an H36MError for anything but tensors, containers and plain values."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(_ZIP))
    except OSError as error:
        raise H36MError(f"{path}: cannot be read ({error.strerror}); expected a PyTorch checkpoint") from error
    if not start:
        raise H36MError(f"{path}: the file is empty; expected a PyTorch checkpoint, download it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever type the first wrong byte happens to cause
        if start == _ZIP:
            raise _refusal(path, error) from error
    try:
        return read_legacy(path)
    except Exception as error:  # and so does unpickling
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> H36MError:
    forbidden = re.search(r"GLOBAL (\S+)", str(error))  # torch's words for a class or function
    if forbidden or isinstance(error, ForbiddenNameError):
        return H36MError(
            f"{path}: refused, because loading it would run {forbidden[1] if forbidden else error}; expected tensors, "
            "containers and plain values. Nothing in it was run; get the file from the authors' page"
        )
    reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
    return H36MError(
        f"{path}: not a PyTorch checkpoint, or a damaged one ({reason}); expected what torch.save writes, "
        "download it again"
    )


def _is_state_dict(content: object) -> bool:
    return isinstance(content, Mapping) and len(content) > 0 and all(map(torch.is_tensor, content.values()))


def _without_module_prefix(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    prefix = "module."  # of DataParallel
    if not all(name.startswith(prefix) for name in state_dict):
        return dict(state_dict)
    return {name[len(prefix) :]: values for name, values in state_dict.items()}


def _renamed(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Python 3 ports of SemGCN write `non_local`, because the official `nonlocal` became a keyword."""
    official = {name: name.replace(".non_local.", ".nonlocal.") for name in found}
    return {official[name] if official[name] in expected else name: values for name, values in found.items()}


def _with_counters(found: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    counters = [name for name in expected if name.endswith(".num_batches_tracked")]
    if any(name in found for name in counters):
        return found
    return found | {name: torch.zeros_like(expected[name]) for name in counters}


def _problem(what: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return [f"{len(entries)} {what}: {', '.join(entries[:_SHOWN])}{more}"]
