"""What goes into a single-frame lifter and what comes out of it: the contract, and the usual normalisation.

Pavllo et al. 2019 (VideoPose3D) and Zhao et al. 2019 (SemGCN): 2D poses are scaled by the image width, 3D poses are in
the camera frame relative to the hip, metres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.batch_sizes import Pieces
from h36m_toolbox.models.devices import moved
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.folded_lifters import Foldable
from h36m_toolbox.models.test_time import Mirror, mirrored_poses
from h36m_toolbox.models.watching import Watch
from h36m_toolbox.pose_tables import SUBJECT_WORDS, pose_array, pose_field, word_codes
from h36m_toolbox.sequences import CAMERA_IDS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import H36M_16, H36M_17, Skeleton
from h36m_toolbox.videopose3d import ScreenCamera, screen_camera, screen_normalised

_POSES_A_BATCH, _POSES_A_DEVICE_BATCH = 256, 4096  # what fits a core's cache; what fills a GPU
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


def lifting_mirror(labels: pa.Table, contract: Lifting) -> Mirror[torch.Tensor]:
    """How a lifter is shown the mirrored people of these rows, in pixels: x -> image width - x, before its own units.

    In screen units that is x -> -x. Its poses, camera frame, relative to the root, are mirrored at x = 0.
    """
    cameras = word_codes(labels, "camera")
    widths = np.empty((len(labels), 1, 1))
    for code in np.unique(cameras):
        widths[cameras == code] = h36m_camera(TRAIN_SUBJECTS[0], CAMERA_IDS[code]).size[0]  # the same for all subjects
    width = torch.from_numpy(widths)
    return Mirror(
        lambda pixels: mirrored_poses(pixels, contract.input_joints, width.to(pixels)),
        lambda poses: mirrored_poses(poses, contract.output_joints),
    )


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
    model: nn.Module,
    inputs: np.ndarray,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    execution: Execution = EXACT,
    watch: Watch | None = None,
) -> np.ndarray:
    """The model's poses for inputs (rows, joints, 2): float32 (rows, joints, 3), metres.

    Batch after batch, in eval mode; by default as many poses as suit the device, in pieces where CUDA's
    memory does not suffice. On the CPU each thread of torch takes batches of its own, and a network that has a folded
    form runs in it, unless `execution` differs. The model is moved to `device`; whether it was training is restored.
    """
    device = torch.device(device)
    training = model.training
    model.to(device).eval()
    plain = device.type == "cpu" and not execution.described()
    folded = model.folded() if plain and isinstance(model, Foldable) else None
    usual = _POSES_A_BATCH if device.type == "cpu" else _POSES_A_DEVICE_BATCH
    size = batch_size or (folded.batch if folded else usual)
    ready, pieces = folded or execution.applied(model), Pieces(device)

    def batch_from(start: int) -> np.ndarray:
        rows = inputs[start : start + size]

        def poses(part: slice) -> np.ndarray:
            with torch.inference_mode():  # holds for a thread
                batch = moved(np.ascontiguousarray(rows[part], np.float32), device)
                return ready(batch).float().cpu().numpy()

        return pieces.computed(len(rows), poses)

    starts = range(0, max(len(inputs), 1), size)  # no rows: one empty batch, which has the shape
    on_cores = device.type == "cpu" and not execution.compile  # compiled code shares its work out itself
    outputs = None
    found = _on_each_core(batch_from, starts) if on_cores else map(batch_from, starts)
    for start, poses in zip(starts, found, strict=True):
        if outputs is None:
            outputs = np.empty((len(inputs), *poses.shape[1:]), np.float32)
        outputs[start : start + size] = poses
        if watch is not None:
            watch.saw(len(poses))
    model.train(training)
    assert outputs is not None  # there is always a batch
    return outputs


def _on_each_core(work: Callable[[int], np.ndarray], items: range) -> Iterator[np.ndarray]:
    """`work` of each item in order, by as many threads as torch has, each computing alone."""
    threads = torch.get_num_threads()
    if threads == 1 or len(items) == 1:
        yield from map(work, items)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(threads)
