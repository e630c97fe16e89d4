"""What goes into a single-frame lifter and what comes out of it: the contract, and the usual normalisation.

Pavllo et al. 2019 (VideoPose3D) and Zhao et al. 2019 (SemGCN): 2D poses are scaled by the image width, 3D poses are in
the camera frame relative to the hip, metres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import SUBJECT_WORDS, pose_array, pose_field, word_codes
from h36m_toolbox.sequences import CAMERA_IDS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import H36M_16, H36M_17, Skeleton
from h36m_toolbox.videopose3d import ScreenCamera, screen_camera, screen_normalised

POSES_A_BATCH = 4096
_BY_JOINTS = {len(skeleton): skeleton for skeleton in (H36M_16, H36M_17)}


class Normaliser(Protocol):
    """Between label tables and a network: rows of labels and pixels to its units, its outputs back to millimetres."""

    def inputs(self, labels: pa.Table, pixels: np.ndarray) -> np.ndarray:
        """Network inputs (rows, joints, 2), float32, of 2D poses (rows, joints, 2), px, in the contract's order."""
        ...

    def targets(self, labels: pa.Table) -> np.ndarray:
        """What the network learns (rows, joints, 3), float32; needs the column `joints_3d_world`."""
        ...

    def poses_mm(self, outputs: np.ndarray) -> np.ndarray:
        """Poses (rows, joints, 3), mm, camera frame, relative to the root, of the network's outputs."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """What was measured on the training set and belongs into a checkpoint."""
        ...


@runtime_checkable
class AnyImageNormaliser(Protocol):
    """A normaliser that also takes 2D poses of cameras that are not Human3.6M's."""

    def inputs_of_images(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Network inputs (rows, joints, 2), float32, of pixels in images of `size` (width, height)."""
        ...


# Reads the training set: its label table and its 2D poses (rows, input joints, 2), px.
TrainingSet = Callable[[], tuple[pa.Table, np.ndarray]]
NormaliserOf = Callable[[TrainingSet, Mapping[str, np.ndarray]], Normaliser]


@dataclass(frozen=True)
class Lifting:
    """The contract of a single-frame lifter: (rows, input joints, 2) in, (rows, output joints, 3) out.

    `normaliser` is made from the training set, or from what a checkpoint holds of an earlier one's `state`; one that
    measures nothing, as `screen`, looks at neither.
    """

    input_joints: Skeleton
    output_joints: Skeleton
    normaliser: NormaliserOf


def screen_lifting(joints: int = 16) -> Lifting:
    """The contract of SemGCN's and VideoPose3D's data: 16 or 17 joints in and out, screen units to metres."""
    if joints not in _BY_JOINTS:
        raise H36MError(f"there are lifters of 16 or 17 joints, not of {joints}")
    skeleton = _BY_JOINTS[joints]
    return Lifting(skeleton, skeleton, lambda training, state: ScreenNormaliser(skeleton))


@dataclass(frozen=True)
class ScreenNormaliser:
    """2D divided by half the image width, 3D in metres."""

    skeleton: Skeleton

    def inputs(self, labels: pa.Table, pixels: np.ndarray) -> np.ndarray:
        return lifting_inputs(labels, pixels, self.skeleton)

    def inputs_of_images(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return screen_normalised(pixels, *size).astype(np.float32)

    def targets(self, labels: pa.Table) -> np.ndarray:
        return lifting_targets(labels, self.skeleton)

    def poses_mm(self, outputs: np.ndarray) -> np.ndarray:
        return outputs * np.float32(1000)

    def state(self) -> dict[str, np.ndarray]:
        return {}


def lifting_inputs(labels: pa.Table, detections_2d: np.ndarray, skeleton: Skeleton = H36M_16) -> np.ndarray:
    """Screen-normalised 2D poses, float32 (rows, joints, 2), in the joint order of `skeleton`.

    `detections_2d` are pixels (rows, joints, 2), a row for every row of `labels`, in the order of H36M_16 or H36M_17;
    image sizes are those of the labels' cameras. An H36MError tells rows or joints that do not fit.
    """
    shape = detections_2d.shape
    if detections_2d.ndim != 3 or shape[0] != len(labels) or shape[1] not in _BY_JOINTS or shape[2] != 2:
        raise H36MError(
            f"2D detections have shape {shape}; {len(labels)} labels need ({len(labels)}, 16, 2) in the order of "
            f"{H36M_16.name} or ({len(labels)}, 17, 2) in that of {H36M_17.name}"
        )
    pixels = _BY_JOINTS[shape[1]].select(detections_2d, skeleton.joints)
    cameras = word_codes(labels, "camera")
    inputs = np.empty(pixels.shape, np.float32)
    for code in np.unique(cameras):
        width, height = h36m_camera(TRAIN_SUBJECTS[0], CAMERA_IDS[code]).size  # the same for all subjects
        inputs[cameras == code] = screen_normalised(pixels[cameras == code], width, height)
    return inputs


def lifting_targets(labels: pa.Table, skeleton: Skeleton = H36M_16) -> np.ndarray:
    """Column `joints_3d_world` in the camera frame relative to the hip, float32 (rows, joints, 3), metres.

    Rounded as the official float32 program does; column `joints_3d_camera`, from exact cameras, is up to 1.5e-6 m off.
    """
    field = pose_field(labels.schema, "joints_3d_world")
    world = field.skeleton.select(pose_array(labels, field.name), skeleton.joints) / np.float32(1000)
    root = skeleton.joints.index(skeleton.root)
    targets = np.empty(world.shape, np.float32)
    for (subject, camera), rows in rows_of_views(labels):
        poses = _in_camera(world[rows], screen_camera(subject, camera))
        targets[rows] = poses - poses[:, root : root + 1]
    return targets


def rows_of_views(labels: pa.Table) -> list[tuple[tuple[str, str], np.ndarray]]:
    """(subject, camera) and which rows (rows,) are of it, for each that the table has."""
    views = word_codes(labels, "subject") * len(CAMERA_IDS) + word_codes(labels, "camera")
    return [
        ((SUBJECT_WORDS[int(view) // len(CAMERA_IDS)], CAMERA_IDS[int(view) % len(CAMERA_IDS)]), views == view)
        for view in np.unique(views)
    ]


def _in_camera(world: np.ndarray, camera: ScreenCamera) -> np.ndarray:
    """`camera.world_to_camera` with torch's cross product, whose last bits, unlike numpy's, are the official ones."""
    axis = torch.from_numpy(-camera.orientation[1:]).expand(world.shape)
    shifted = torch.from_numpy(world - camera.translation)
    once = torch.cross(axis, shifted, dim=-1)
    return (shifted + 2 * (camera.orientation[0] * once + torch.cross(axis, once, dim=-1))).numpy()


def predict(
    model: nn.Module, inputs: np.ndarray, device: torch.device | str = "cpu", batch_size: int = POSES_A_BATCH
) -> np.ndarray:
    """The model's poses for inputs (rows, joints, 2): float32 (rows, joints, 3), metres.

    Batch after batch, in eval mode. The model is moved to `device`; whether it was training is restored.
    """
    training = model.training
    model.to(device).eval()
    batches = []
    with torch.inference_mode():
        for start in range(0, max(len(inputs), 1), batch_size):  # no rows: one empty batch, which has the shape
            batch = torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch_size], np.float32))
            batches.append(model(batch.to(device)).float().cpu().numpy())
    model.train(training)
    return np.concatenate(batches)
