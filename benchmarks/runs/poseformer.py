"""What a run of Context-Aware PoseFormer does differently from a lifter's: it reads crops beside its 2D poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.frames.stores import WHOLE_FRAMES
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.crop_models import FromCrops

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.benchmarks.runs.bench import BenchRequest
    from h36m_toolbox.models.poseformer_inference import Progress
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.watching import Spent


def crop_model(request: BenchRequest) -> nn.Module:
    """The network with its weights, or with random ones by the request's seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = create_model(request.model, **request.options)
    if request.weights:
        load_weights(model, request.weights)
    return model


def crop_poses(
    models: list[nn.Module],
    contract: FromCrops,
    scored: pa.Table,
    request: BenchRequest,
    processes: Processes | None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, Spent] | None:
    """Poses (rows, 17, 3), mm, relative to the root, of labels with `joints_3d_camera`, and what that took.

    The mean of the models' poses, with the flip test unless the contract says otherwise; None but on the first process.
    `progress` is told how many poses of all this process has finished. Raises H36MError for missing detections and
    frames.
    """
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.poseformer_data import CROP_STORE, CropReader, reading, rows_of_data
    from h36m_toolbox.models.poseformer_inference import default_batch_size, predict
    from h36m_toolbox.models.processes import ALONE
    from h36m_toolbox.models.watching import Watch

    processes = processes or ALONE
    share = processes.share(len(scored))
    mine = scored.slice(share.start, share.stop - share.start)
    detections = read_detections(request.data, request.detections)
    pixels = match_detections(mine, detections, request.detections, contract.input_joints.joints)
    rows = rows_of_data(request.data, mine, pixels, request.detections)
    reader = CropReader(request.data, CROP_STORE if contract.stored_crops else WHOLE_FRAMES)
    device = device_named(request.device)
    watch = Watch(device)
    read = reading(rows, reader, pinned=device.startswith("cuda"))
    batch_size = request.batch_size or default_batch_size(device)
    found = predict(
        models[0],
        len(rows),
        read,
        contract,
        device,
        batch_size,
        progress,
        request.execution,
        watch,
        others=models[1:],
    )
    spent = watch.spent().by_all(processes)
    poses = processes.gathered(found)
    return (poses * np.float32(1000), spent) if processes.is_first else None
