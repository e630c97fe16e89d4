"""Lifters trained on Human3.6M, tested on MPI-INF-3DHP: its 2D ground truth in, its evaluation's joints out.

Input and output go through the joint mapping of `mpi_inf_3dhp.joints`; spine, thorax, neck and head are other points of
the body in the two data sets, which no arithmetic here makes up for. 2D poses are scaled by the image width (Pavllo et
al. 2019), so the different focal lengths stay in. Networks with other units of their own, as Martinez', are not for it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.joints import as_h36m_17, from_h36m_17
from h36m_toolbox.mpi_inf_3dhp.sequences import image_size
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.videopose3d import screen_normalised

_BATCH = 512
_HIP = H36M_17.joints.index(H36M_17.root)


def lift_test_set(network: nn.Module, truth: list[TestAnnotations], device: str = "cpu") -> dict[str, np.ndarray]:
    """Predictions (valid frames, 17, 3), mm, relative to the pelvis, by sequence: what the evaluation takes.

    The network maps screen units (rows, 17, 2) to metres (rows, 17, 3) in the order of Human3.6M's 17 joints; it is
    left in evaluation mode on `device`. Raises H36MError for a network that gives another shape.
    """
    network.to(device).eval()
    predictions = {}
    for sequence in truth:
        pixels = as_h36m_17(sequence.image[sequence.valid])
        inputs = torch.from_numpy(screen_normalised(pixels, *image_size(sequence.sequence)).astype(np.float32))
        with torch.inference_mode():
            outputs = [network(batch.to(device)).cpu().numpy() for batch in inputs.split(_BATCH)] if len(inputs) else []
        poses = np.concatenate([np.empty((0, len(H36M_17), 3), np.float32), *_checked(outputs)]) * 1000.0
        predictions[sequence.sequence] = from_h36m_17(poses - poses[:, [_HIP]])
    return predictions


def _checked(outputs: list[np.ndarray]) -> list[np.ndarray]:
    for output in outputs:
        if output.shape[1:] != (len(H36M_17), 3):
            raise H36MError(
                f"the network gives {output.shape}; MPI-INF-3DHP's evaluation needs 17 joints, such as those of "
                "create_model('semgcn', joints=17)"
            )
    return outputs
