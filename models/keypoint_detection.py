"""2D detections of one's own: HRNet over the frames of DATA, as `DATA/detections/NAME.parquet` in H36M_17's order.

Heat maps are read as in github.com/leoxiaobin/deep-high-resolution-net.pytorch: the largest value, and a quarter of a
pixel towards its larger neighbour. The crops are Context-Aware PoseFormer's, so the box stands on the true root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.detections.bundles import DetectionReport, detections_path, write_detections
from h36m_toolbox.detections.files import DetectedSequence, DetectionSource
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import POSEFORMER_SIZE, box_geometry, poseformer_boxes
from h36m_toolbox.labels import label_sequences, labels_path
from h36m_toolbox.models.checkpoints import load_weights
from h36m_toolbox.models.hrnet import WIDTHS, PoseHRNet
from h36m_toolbox.models.poseformer_data import CropReader
from h36m_toolbox.models.poseformer_inference import default_batch_size
from h36m_toolbox.models.poseformer_inputs import normalised
from h36m_toolbox.pose_tables import pose_array, row_keys
from h36m_toolbox.sequences import SPLITS, Sequence
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.files import sha256_of

DETECTORS = tuple(f"hrnet_{width}" for width in WIDTHS)
HEADS = ("coco", "h36m")
_READERS = 4  # threads that decode and cut

_COCO = (
    *("Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist"),
    *("LHip", "RHip", "LKnee", "RKnee", "LFoot", "RFoot"),
)
# What COCO's keypoints, whose ankles are our feet, do not have: means of those that it has.
_FROM_COCO = {
    "Hip": ("LHip", "RHip"),
    "Spine": ("LHip", "RHip", "LShoulder", "RShoulder"),
    "Thorax": ("LShoulder", "RShoulder"),
    "Neck/Nose": ("Nose",),
    "Head": ("LEye", "REye"),
}
MAPPING_NOTE = "; ".join(f"{joint} is the mean of {', '.join(parts)}" for joint, parts in _FROM_COCO.items())


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Keypoints:
    """Points (n, joints, 2) and how sure they are (n, joints), 0 or more."""

    points: np.ndarray
    confidences: np.ndarray


def heatmap_keypoints(heatmaps: torch.Tensor) -> Keypoints:
    """The joints of heat maps (n, joints, h, w), in their pixels, float32; a value below 0 is a confidence of 0."""
    height, width = heatmaps.shape[2:]
    values, places = heatmaps.flatten(2).max(dim=2)
    x, y = places % width, places // width
    padded = torch.nn.functional.pad(heatmaps, (1, 1, 1, 1)).flatten(2)

    def beside(across: int, down: int) -> torch.Tensor:
        place = (y + 1 + down) * (width + 2) + x + 1 + across
        return padded.gather(2, place[..., None])[..., 0]

    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    shift = torch.stack([beside(1, 0) - beside(-1, 0), beside(0, 1) - beside(0, -1)], dim=-1).sign() / 4
    points = torch.stack([x, y], dim=-1) + shift * inside[..., None]
    return Keypoints(points.float().cpu().numpy(), values.clamp(min=0).float().cpu().numpy())


def coco_as_h36m(keypoints: Keypoints) -> Keypoints:
    """COCO's 17 keypoints as H36M_17: see `MAPPING_NOTE`; a mean is as sure as its least sure part."""
    parts = [[_COCO.index(part) for part in _FROM_COCO.get(joint, (joint,))] for joint in H36M_17.joints]
    return Keypoints(
        np.stack([keypoints.points[:, part].mean(axis=1) for part in parts], axis=1),
        np.stack([keypoints.confidences[:, part].min(axis=1) for part in parts], axis=1),
    )


def detect(
    data: Path,
    name: str,
    detector: str,
    weights: Path,
    heads: str = "coco",
    every: int = 1,
    device: str = "cpu",
    progress: Callable[[Sequence], None] | None = None,
) -> DetectionReport:
    """Run a detector over each `every`-th labelled frame of DATA and write `DATA/detections/NAME.parquet`.

    `heads` "coco": the published weights; "h36m": 17 joints in H36M_17's order. Raises H36MError for an unknown
    detector or head, weights that do not fit, and labels or frames that are missing.
    """
    if detector not in DETECTORS or heads not in HEADS:
        raise H36MError(
            f"no detector {detector} with {heads} heads; there are {', '.join(DETECTORS)}; {', '.join(HEADS)}"
        )
    detections_path(data, name)
    model = PoseHRNet(int(detector.removeprefix("hrnet_")))
    load_weights(model, weights)
    lengths = {sequence: len(rows) for sequence, rows in _labelled(data, [])}
    if not lengths:
        raise H36MError(f"{data}: no labels, which say where the person is; run `h36m labels RAW --out {data}`")
    note = f"{name}: {MAPPING_NOTE}" if heads == "coco" else f"{name}: joints in the order of {H36M_17.name}"
    source = DetectionSource(name, weights.name, sha256_of(weights), H36M_17, (note,), every, confident=True)
    found = _detected(model.to(device).eval(), data, heads, every, device)
    return write_detections(data, source, found, lengths, progress)


def _labelled(data: Path, columns: list[str]) -> Iterator[tuple[Sequence, pa.Table]]:
    for split in SPLITS:
        if labels_path(data, split).is_file():
            yield from label_sequences(data, split, columns)


def _detected(model: PoseHRNet, data: Path, heads: str, every: int, device: str) -> Iterator[DetectedSequence]:
    reader, batch_size = CropReader(data), default_batch_size(device)
    root = H36M_17.joints.index(H36M_17.root)
    with ThreadPoolExecutor(_READERS) as pool:
        for sequence, labels in _labelled(data, ["joints_3d_camera"]):
            rows = labels.take(np.arange(0, len(labels), every))
            camera = h36m_camera(sequence.subject, sequence.camera)
            boxes = poseformer_boxes(box_geometry(camera, pose_array(rows, "joints_3d_camera")[:, root]))
            parts = [slice(start, start + batch_size) for start in range(0, len(rows), batch_size)]
            read = partial(_submitted, pool, reader, row_keys(rows), boxes)
            found, ahead = [], read(parts[0])
            for number, part in enumerate(parts):
                crops = np.stack([crop.result() for crop in ahead])
                ahead = read(parts[number + 1]) if number + 1 < len(parts) else []
                with torch.inference_mode():
                    heatmaps = model(normalised(torch.from_numpy(crops).to(device), "hrnet"))
                found.append(_in_image(heatmap_keypoints(heatmaps), boxes[part], heads))
            points, confidences = ([getattr(each, name) for each in found] for name in ("points", "confidences"))
            yield DetectedSequence(sequence, np.concatenate(points), np.concatenate(confidences))


def _submitted(
    pool: ThreadPoolExecutor, reader: CropReader, keys: np.ndarray, boxes: np.ndarray, part: slice
) -> list[Future[np.ndarray]]:
    return [pool.submit(reader.crop, int(key), box) for key, box in zip(keys[part], boxes[part], strict=True)]


def _in_image(keypoints: Keypoints, boxes: np.ndarray, heads: str) -> Keypoints:
    """Heat-map pixels, of which four crop pixels are one, as pixels of the whole frame, in H36M_17's order."""
    sizes = boxes[:, None, 2:] - boxes[:, None, :2]
    points = boxes[:, None, :2] + 4 * keypoints.points / np.array(POSEFORMER_SIZE) * sizes
    placed = Keypoints(points.astype(np.float32), keypoints.confidences)
    return coco_as_h36m(placed) if heads == "coco" else placed
