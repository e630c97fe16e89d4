"""The official label scripts' order of operations, in our own words: a frame at a time, everything in memory.

    python benchmarks/speed/official_labels.py NAME RAW DATA

`label_formats.py` runs one a process over a small archive with videos, masks and extracted frames; the process prints
its CPU seconds without imports, the poses or masks it went through, and by how much its memory grew, as JSON. What it
writes are not the official files: what counts is what is done for each frame. Order as described for H36M-Toolbox,
Context-Aware PoseFormer, VideoPose3D, h36m-fetch, learnable triangulation and mmpose.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cdflib
import cv2
import h5py
import numpy as np

from h36m_toolbox.benchmarks.speed.mask_boxes import official_order
from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.sequences import Sequence, recordings
from h36m_toolbox.skeletons import H36M_17, H36M_32

_POSES = {"image": ("D2_Positions", 2), "camera": ("D3_Positions_mono", 3)}
_POSES["universal"] = ("D3_Positions_mono_universal", 3)
_JOINTS = [H36M_32.joints.index(joint) for joint in H36M_17.joints]
_KEEP_MM2 = 40**2


def views_of(raw: Path) -> list[Sequence]:
    """The views that an archive has poses of, in the Toolbox's loop order."""
    everything = [view for recording in recordings() for view in recording.views]
    return [view for view in everything if pose_path(raw, view, "image").is_file()]


def pose_path(raw: Path, view: Sequence, kind: str) -> Path:
    """Where one of a view's pose files lies."""
    return raw / view.subject / "MyPoseFeatures" / _POSES[kind][0] / f"{view.recording.stem}.{view.camera}.cdf"


def poses_of(raw: Path, view: Sequence, kind: str) -> np.ndarray:
    """One of a view's pose arrays (frames, 32, 2 or 3), read by cdflib."""
    values = cdflib.CDF(str(pose_path(raw, view, kind))).varget("Pose")
    return values.reshape(-1, 32, _POSES[kind][1])


def toolbox(raw: Path, data: Path) -> int:
    """A dict a frame whose image exists, in one list, then one pickle."""
    records = [record for _, record in _records(raw, data)]
    pickle.dump(records, io.BytesIO())
    return len(records)


def poseformer(raw: Path, data: Path) -> int:
    """As the Toolbox, and each image is read for its size, each joint put into the crop by itself."""
    records = []
    for image, record in _records(raw, data):
        picture = cv2.imread(str(image))
        if picture is None:
            sys.exit(f"{image}: OpenCV cannot read it")
        height, width = picture.shape[:2]
        pixels = record["joints_2d"].astype(np.float64)
        for name in ("gt", "cpn"):
            record[f"joints_2d_{name}"] = pixels * 2 / width - [1, height / width]
            record[f"joints_2d_{name}_crop"] = _in_crop(pixels, record["center"], record["box"])
        records.append(record)
    pickle.dump(records, io.BytesIO())
    return len(records)


def _in_crop(pixels: np.ndarray, center: tuple[float, float], box: np.ndarray) -> np.ndarray:
    scale = 191 / max(float(box[2] - box[0]) - 1, 1)
    source = np.array([center, (center[0], center[1] - 50), (center[0] - 50, center[1] - 50)], np.float32)
    target = (np.array([95.5, 127.5]) + scale * (source - source[0])).astype(np.float32)
    matrix = cv2.getAffineTransform(source, target)
    crop = np.zeros((len(pixels), 2), np.float32)
    for joint, (x, y) in enumerate(pixels):
        crop[joint] = matrix @ np.array([x, y, 1.0])
    return crop


def _records(raw: Path, data: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for number, view in enumerate(views_of(raw)):
        image, camera, universal = (poses_of(raw, view, kind) for kind in ("image", "camera", "universal"))
        calibration = h36m_camera(view.subject, view.camera)
        for frame in range(min(len(image), len(camera), len(universal))):
            path = data / "images" / view.folder / f"{view.folder}_{frame + 1:06d}.jpg"
            if not path.is_file():
                continue
            box = _box(camera[frame, 0], calibration)
            yield (
                path,
                {
                    "image": f"{view.folder}/{path.name}",
                    "joints_2d": image[frame, _JOINTS],
                    "joints_3d": universal[frame, _JOINTS],
                    "joints_3d_camera": camera[frame, _JOINTS],
                    "joints_vis": np.ones((17, 3)),
                    "video_id": number,
                    "image_id": frame + 1,
                    "subject": view.subject_number,
                    "action": view.action_id,
                    "subaction": view.subaction,
                    "camera_id": view.camera_index,
                    "source": "h36m",
                    "camera": calibration,
                    "center": ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
                    "scale": ((box[2] - box[0]) / 200, (box[3] - box[1]) / 200),
                    "box": box,
                },
            )


def _box(root: np.ndarray, camera: Camera) -> np.ndarray:
    """The window of 2 m around the root, projected without distortion: left, top, right, bottom."""
    corners = []
    for shift in ((-1000, -900, 0), (1000, 1100, 0)):
        point = root + np.array(shift, np.float32)
        corners.append(camera.focal * (point[:2] / point[2]) + camera.principal)
    return np.concatenate(corners).astype(np.float32)


def videopose3d(raw: Path, data: Path) -> int:
    """Whole sequences in a dict, projected, then compressed."""
    world: dict[str, dict[str, np.ndarray]] = {}
    image: dict[str, dict[str, list[np.ndarray]]] = {}
    count = 0
    for recording in dict.fromkeys(view.recording for view in views_of(raw)):
        path = raw / recording.subject / "MyPoseFeatures" / "D3_Positions" / f"{recording.stem}.cdf"
        poses = cdflib.CDF(str(path)).varget("Pose").reshape(-1, 32, 3).astype(np.float32)
        world.setdefault(recording.subject, {})[recording.canonical_name] = poses / 1000
        for view in recording.views:
            camera = h36m_camera(view.subject, view.camera)
            pixels = camera.project(camera.world_to_camera(poses[:, _JOINTS]))
            image.setdefault(view.subject, {}).setdefault(recording.canonical_name, []).append(pixels)
            count += len(poses)
    np.savez_compressed(io.BytesIO(), positions_3d=np.array(world, object))
    np.savez_compressed(io.BytesIO(), positions_2d=np.array(image, object))
    return count


def h36m_fetch(raw: Path, data: Path) -> int:
    """The labels' part: frames chosen one by one, a least-squares fit a view, one HDF5 file."""
    chosen: dict[str, list[np.ndarray]] = {kind: [] for kind in _POSES}
    count = 0
    for view in views_of(raw):
        poses = {kind: poses_of(raw, view, kind) for kind in _POSES}
        kept, last = [], None
        for frame, pose in enumerate(poses["universal"]):
            if last is None or not np.all(np.sum((pose - last) ** 2, axis=1) < _KEEP_MM2):
                kept.append(frame)
                last = pose
        for depths in (poses["camera"], poses["universal"]):
            for axis in (0, 1):
                known = np.stack([depths[..., axis].ravel(), depths[..., 2].ravel()], axis=1)
                np.linalg.lstsq(known, (poses["image"][..., axis] * depths[..., 2]).ravel(), rcond=None)
        for kind, array in poses.items():
            chosen[kind].append(array[kept])
        count += len(poses["image"])
    with h5py.File(io.BytesIO(), "w") as file:
        for kind, arrays in chosen.items():
            file[kind] = np.concatenate(arrays)
    return count


def multiview(raw: Path, data: Path) -> int:
    """Every mask whole, every box squared by itself, selected or not; one view stands for all."""
    boxes = []
    folder = raw / "S1" / "MySegmentsMat" / "ground_truth_bb"
    for path in sorted(folder.glob("*.mat"))[:1]:
        for top, left, bottom, right in official_order(path):
            height, width = bottom - top, right - left
            if height < width:
                top = round((top + bottom) / 2 - width / 2)
                bottom = top + width
            else:
                left = round((left + right) / 2 - height / 2)
                right = left + height
            boxes.append((top, left, bottom, right))
    return len(boxes)


def mmpose(raw: Path, data: Path) -> int:
    """Each frame decoded to BGR and written as JPEG by OpenCV; a name, a box and two poses appended for each."""
    cv2.setNumThreads(1)
    folder = data / "official_mmpose"
    folder.mkdir(parents=True, exist_ok=True)
    names, centers, scales, parts, poses = [], [], [], [], []
    for view in views_of(raw):
        image, camera = poses_of(raw, view, "image"), poses_of(raw, view, "camera")
        video = raw / view.subject / "Videos" / f"{view.recording.stem}.{view.camera}.mp4"
        reader = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])  # one thread, as for ours
        for frame in range(len(image)):
            there, picture = reader.read()
            if not there:
                sys.exit(f"{video}: OpenCV read {frame} frames")
            path = folder / f"{view.folder}_{frame + 1:06d}.jpg"
            cv2.imwrite(str(path), picture)
            pixels = image[frame, _JOINTS]
            least, most = pixels.min(axis=0), pixels.max(axis=0)
            names.append(path.name)
            centers.append((least + most) / 2)
            scales.append(1.2 * max(most - least) / 200)
            parts.append(np.concatenate([pixels, np.ones((17, 1))], axis=1))
            poses.append(np.concatenate([camera[frame, _JOINTS] / 1000, np.ones((17, 1))], axis=1))
    np.savez(io.BytesIO(), imgname=names, center=centers, scale=scales, part=parts, S=poses)
    return len(names)


SCRIPTS: dict[str, Callable[[Path, Path], int]] = {
    "toolbox": toolbox,
    "poseformer": poseformer,
    "videopose3d": videopose3d,
    "h36m-fetch": h36m_fetch,
    "multiview": multiview,
    "mmpose": mmpose,
}


def main() -> None:
    """Run one order and print what it took."""
    name, raw, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    count = SCRIPTS[name](raw, data)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"cpu_s": round(time.process_time() - start, 3), "views": count, "grown_mb": grown // 1024}))


if __name__ == "__main__":
    main()
