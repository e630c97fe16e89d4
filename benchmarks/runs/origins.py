"""Where a run's predictions come from: what decides them, and the provenance that their file keeps."""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from h36m_toolbox import __version__
from h36m_toolbox.benchmarks.predictions import UNTRAINED, Provenance
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import data_fingerprint
from h36m_toolbox.mpi_inf_3dhp.labels import labels_path as test_labels_path
from h36m_toolbox.mpi_inf_3dhp.sequences import FAMILY
from h36m_toolbox.storage.files import sha256_of

if TYPE_CHECKING:
    from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import TestProtocol
    from h36m_toolbox.benchmarks.protocols import Protocol
    from h36m_toolbox.benchmarks.runs.bench import BenchRequest
    from h36m_toolbox.models.watching import Spent


# what the identity of a run and the provenance of its predictions say alike
_OF_THE_RUN = (
    *("model", "options", "weights_sha256", "detections", "data_fingerprint"),
    *("protocol", "device", "h36m_version"),
)


def weights_sha256(request: BenchRequest) -> str:
    """The hash of the weights; of an ensemble, all hashes joined by plus signs. H36MError for a file that is absent."""
    if request.weights is None:
        return UNTRAINED
    for path in (request.weights, *request.ensemble):
        if not path.is_file():
            raise H36MError(f"{path}: cannot be read, there is no such file; see `h36m models` for weights")
    return "+".join(sha256_of(path) for path in (request.weights, *request.ensemble))


def ensemble_members(request: BenchRequest) -> list[BenchRequest]:
    """A request for each model whose poses are averaged: that of the request's weights first, each without the others.

    Raises H36MError for an ensemble whose first model has no weights.
    """
    if request.ensemble and request.weights is None:
        raise H36MError("an ensemble needs weights of its first model too; give --weights FILE besides --ensemble")
    return [replace(request, weights=path, ensemble=()) for path in (request.weights, *request.ensemble)]


def described_options(request: BenchRequest) -> dict[str, Any]:
    """The model's options and what was averaged at test time: a row of the leaderboard shows both."""
    flip = {"flip_test": True} if request.flip else {}
    return request.options | flip | ({"ensemble": 1 + len(request.ensemble)} if request.ensemble else {})


def check_execution(request: BenchRequest) -> None:
    """An H36MError for a way of executing the network that the request's device does not know."""
    from h36m_toolbox.models.devices import device_named

    request.execution.check(device_named(request.device))


def fingerprint_of(request: BenchRequest) -> str:
    """What identifies the labels that a request is scored on: their sha256."""
    if request.dataset == FAMILY:
        return sha256_of(test_labels_path(request.data, "test"))
    return data_fingerprint(request.data, request.split)


def identity_of(
    request: BenchRequest, protocol: Protocol | TestProtocol, options: dict[str, Any], detections: str, **hashes: Any
) -> dict[str, Any]:
    """What decides the predictions and their score: a finished run of the same need not be run again.

    How the network was executed counts among the options where it is not the default. `hashes` are those of the files
    that this kind of model reads, besides weights and labels.
    """
    from h36m_toolbox.models.devices import device_label, device_named

    return {
        "model": request.model,
        "options": options | request.execution.described(),
        "weights_sha256": weights_sha256(request),
        "seed": request.seed,
        "detections": detections,
        **hashes,
        "data_fingerprint": fingerprint_of(request),
        "split": request.split,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "device": device_label(device_named(request.device)),
        "h36m_version": __version__,
    }


def provenance_of(
    identity: dict[str, Any], detections_sha256: str, *, spent: Spent, poses: int, root: str, parameters: int
) -> Provenance:
    """The provenance of `poses` predictions that took what was `spent`, made now on this machine.

    `identity` is that of the run, as `identity_of` gives it: no file is read a second time for its hash.
    """
    import torch

    return Provenance(
        **{name: identity[name] for name in _OF_THE_RUN},
        detections_sha256=detections_sha256,
        torch_version=torch.__version__,
        numpy_version=np.__version__,
        python_version=platform.python_version(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=round(spent.seconds, 4),
        poses_per_s=round(poses / max(spent.seconds, 1e-9), 1),
        root=root,
        parameters=parameters,
        images_per_s=round(spent.images_per_s, 1),
        waiting_share=round(spent.waiting_share, 4),
        peak_memory_mb=None if spent.peak_memory_mb is None else round(spent.peak_memory_mb, 1),
    )
