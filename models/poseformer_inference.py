"""Poses of Context-Aware PoseFormer, batch after batch, while the next crops are being read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from h36m_toolbox.models.batch_sizes import Pieces, batch_size_for
from h36m_toolbox.models.ca_poseformer import CAPoseFormer
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.folded_norms import with_folded_norms
from h36m_toolbox.models.poseformer_data import Read
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch, crop_mirror, poses_of
from h36m_toolbox.models.test_time import Predictor, averaged
from h36m_toolbox.models.watching import Watch

ON_CPU = 8  # crops a batch: more of them are no faster there
Progress = Callable[[int, int], None]  # finished rows, all rows
_BYTES_A_CROP = 64 << 20  # of a GPU, both sides of the flip test
_MOST = 256


def default_batch_size(device: torch.device | str) -> int:
    """As many crops as the device's free memory surely takes."""
    return batch_size_for(device, ON_CPU, _BYTES_A_CROP, _MOST)


def ready_to_predict(model: nn.Module) -> nn.Module:
    """The network in eval mode as it runs fastest: the same parts, around a backbone whose norms are folded."""
    if not isinstance(model, CAPoseFormer):
        return model
    ready = copy.copy(model)
    ready._modules = {**model._modules, "backbone": with_folded_norms(model.backbone)}
    return ready


def predict(
    model: nn.Module,
    rows: int,
    read: Read,
    contract: FromCrops,
    device: torch.device | str = "cpu",
    batch_size: int = ON_CPU,
    progress: Progress | None = None,
    execution: Execution = EXACT,
    watch: Watch | None = None,
    others: Sequence[nn.Module] = (),
) -> np.ndarray:
    """Poses (rows, 17, 3), float32, m (3DHP: mm), relative to the root, with the flip test if the contract says so.

    Averaged with those of `others`, an ensemble. `read` gives the batches. In eval mode; the model is moved to
    `device`, and whether it was training is restored. Backbones run with folded norms. Where CUDA's
    memory does not suffice batches are computed in pieces; H36MError where not even one crop fits.
    """
    training = model.training
    ready = [execution.applied(ready_to_predict(each.to(device).eval())) for each in (model, *others)]

    def predictor(network: nn.Module) -> Predictor[PoseFormerBatch]:
        return lambda batch: poses_of(network, batch, contract.backbone)

    mirror = crop_mirror(contract.input_joints)
    poses_of_batch = averaged([predictor(network) for network in ready], mirror, contract.flip_test)
    parts = (np.arange(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size))
    found = [np.empty((0, len(contract.output_joints), 3), np.float32)]
    watch, pieces = watch or Watch(device), Pieces(device)
    with torch.inference_mode():
        batches = iter(read(parts))
        while True:
            with watch.waiting():
                batch = next(batches, None)
            if batch is None:
                break

            def poses(part: slice, batch: PoseFormerBatch = batch) -> np.ndarray:
                return poses_of_batch(batch.taken(part).to(device)).float().cpu().numpy()

            found.append(pieces.computed(len(batch), poses))
            watch.saw(len(batch))
            if progress is not None:
                progress(sum(map(len, found)), rows)
    model.train(training)
    return np.concatenate(found)
