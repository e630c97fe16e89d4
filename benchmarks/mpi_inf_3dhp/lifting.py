"""Lifters trained on Human3.6M, tested on MPI-INF-3DHP: its 2D ground truth in, its evaluation's joints out.

Input and output go through the joint mapping of `mpi_inf_3dhp.joints`; spine, thorax, neck and head are other points of
the body in the two data sets, which no arithmetic here makes up for. 2D poses are scaled by the width of the test
camera's image (Pavllo et al. 2019), so the different focal lengths stay in.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.lifting import AnyImageNormaliser, Lifting, Normaliser, predict
from h36m_toolbox.models.watching import Watch
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.joints import as_h36m_17, from_h36m
from h36m_toolbox.mpi_inf_3dhp.sequences import image_size
from h36m_toolbox.skeletons import H36M_17


def lifter_inputs(contract: Lifting, normaliser: Normaliser, truth: list[TestAnnotations]) -> np.ndarray:
    """Inputs (rows, joints, 2), float32, of the valid frames of all sequences, one after the other.

    Raises H36MError for a model of your own whose normaliser knows the cameras of Human3.6M only.
    """
    if not isinstance(normaliser, AnyImageNormaliser):
        raise H36MError(
            f"{type(normaliser).__name__} takes 2D poses of Human3.6M's cameras only; give it the method "
            "inputs_of_images(pixels, size), as models.lifting.ScreenNormaliser has it"
        )
    parts = []
    for sequence in truth:
        pixels = H36M_17.select(as_h36m_17(sequence.image[sequence.valid]), contract.input_joints.joints)
        parts.append(normaliser.inputs_of_images(pixels, image_size(sequence.sequence)))
    return np.concatenate(parts)


def lifted(
    model: nn.Module,
    contract: Lifting,
    normaliser: Normaliser,
    inputs: np.ndarray,
    device: str = "cpu",
    batch_size: int | None = None,
    execution: Execution = EXACT,
    watch: Watch | None = None,
) -> np.ndarray:
    """Poses (rows, 17, 3), mm, relative to the pelvis, in the evaluation's order, of `lifter_inputs`.

    Raises H36MError for a network that gives other joints than its contract says.
    """
    outputs = predict(model, inputs, device, batch_size, execution, watch)
    joints = contract.output_joints
    if outputs.shape[1:] != (len(joints), 3):
        raise H36MError(f"the network gives {outputs.shape[1:]} a pose; its contract says {len(joints)} joints")
    poses = normaliser.poses_mm(outputs)
    return from_h36m(poses - poses[:, [joints.joints.index(joints.root)]], joints)


def by_sequence(poses: np.ndarray, truth: list[TestAnnotations]) -> dict[str, np.ndarray]:
    """Poses of the valid frames of all sequences (rows, ...), by sequence."""
    ends = np.cumsum([int(sequence.valid.sum()) for sequence in truth])
    return dict(zip((sequence.sequence for sequence in truth), np.split(poses, ends[:-1]), strict=True))
