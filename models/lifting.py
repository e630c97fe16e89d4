"""What goes into a single-frame lifter and what comes out of it.

Pavllo et al. 2019 (VideoPose3D) and Zhao et al. 2019 (SemGCN): 2D poses are scaled by the image width, 3D poses are in
the camera frame relative to the hip, metres.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import SUBJECT_WORDS, pose_array, pose_field, word_codes
from h36m_toolbox.sequences import CAMERA_IDS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import H36M_16, H36M_17
from h36m_toolbox.videopose3d import ScreenCamera, screen_camera, screen_normalised


def lifting_inputs(labels: pa.Table, detections_2d: np.ndarray) -> np.ndarray:
    """Screen-normalised 2D poses, float32 (rows, 16, 2), in the joint order of H36M_16.

    `detections_2d` are pixels (rows, joints, 2), a row for every row of `labels`, in the order of H36M_16 or H36M_17;
    image sizes are those of the labels' cameras. An H36MError tells rows or joints that do not fit.
    """
    skeletons = {len(skeleton): skeleton for skeleton in (H36M_16, H36M_17)}
    shape = detections_2d.shape
    if detections_2d.ndim != 3 or shape[0] != len(labels) or shape[1] not in skeletons or shape[2] != 2:
        raise H36MError(
            f"2D detections have shape {shape}; {len(labels)} labels need ({len(labels)}, 16, 2) in the order of "
            f"{H36M_16.name} or ({len(labels)}, 17, 2) in that of {H36M_17.name}"
        )
    pixels = skeletons[shape[1]].select(detections_2d, H36M_16.joints)
    cameras = word_codes(labels, "camera")
    inputs = np.empty(pixels.shape, np.float32)
    for code in np.unique(cameras):
        width, height = h36m_camera(TRAIN_SUBJECTS[0], CAMERA_IDS[code]).size  # the same for all subjects
        inputs[cameras == code] = screen_normalised(pixels[cameras == code], width, height)
    return inputs


def lifting_targets(labels: pa.Table) -> np.ndarray:
    """Column `joints_3d_world` in the camera frame relative to the hip, float32 (rows, 16, 3), metres, as H36M_16.

    Rounded as the official float32 program does; column `joints_3d_camera`, from exact cameras, is up to 1.5e-6 m off.
    """
    field = pose_field(labels.schema, "joints_3d_world")
    world = field.skeleton.select(pose_array(labels, field.name), H36M_16.joints) / np.float32(1000)
    views = word_codes(labels, "subject") * len(CAMERA_IDS) + word_codes(labels, "camera")
    targets = np.empty(world.shape, np.float32)
    for view in np.unique(views):
        subject, camera = divmod(int(view), len(CAMERA_IDS))
        poses = _in_camera(world[views == view], screen_camera(SUBJECT_WORDS[subject], CAMERA_IDS[camera]))
        targets[views == view] = poses - poses[:, :1]
    return targets


def _in_camera(world: np.ndarray, camera: ScreenCamera) -> np.ndarray:
    """`camera.world_to_camera` with torch's cross product, whose last bits, unlike numpy's, are the official ones."""
    axis = torch.from_numpy(-camera.orientation[1:]).expand(world.shape)
    shifted = torch.from_numpy(world - camera.translation)
    once = torch.cross(axis, shifted, dim=-1)
    return (shifted + 2 * (camera.orientation[0] * once + torch.cross(axis, once, dim=-1))).numpy()


def predict(
    model: nn.Module, inputs: np.ndarray, device: torch.device | str = "cpu", batch_size: int = 4096
) -> np.ndarray:
    """The model's poses for inputs (rows, joints, 2): float32 (rows, joints, 3), metres.

    Batch after batch, in eval mode. The model is moved to `device`; whether it was training is restored.
    """
    training = model.training
    model.to(device).eval()
    batches = [np.empty((0, *inputs.shape[1:-1], 3), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(inputs), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch_size], np.float32))
            batches.append(model(batch.to(device)).float().cpu().numpy())
    model.train(training)
    return np.concatenate(batches)
