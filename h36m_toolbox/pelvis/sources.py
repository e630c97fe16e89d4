"""Pelvis estimates from what there is: 2D detections of the four views, or a run's absolute poses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.detections.bundles import CONFIDENCES, bundled_skeleton, detections_path, read_sequence_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pelvis.estimates import JOINT, PelvisSource, RecordingPelvis, averaged, instant_keys, recording_code
from h36m_toolbox.pose_parquet import pose_row_groups
from h36m_toolbox.pose_tables import pose_array, pose_field, row_keys, sequence_codes, sequence_of_code
from h36m_toolbox.sequences import Recording, Sequence
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.triangulation import (
    RANSAC_DRAWS,
    RANSAC_THRESHOLD_PX,
    normalised_confidences,
    projection_matrices,
    triangulated,
    triangulated_ransac,
)

METHODS = ("dlt", "ransac")
PREDICTION_COLUMN = "joints_3d"
PREDICTIONS_NAME = "predictions.parquet"


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _View:
    sequence: Sequence
    pixels: np.ndarray  # (frames, 2), px, lens distortion included
    confidences: np.ndarray  # (frames,), 1 where the bundle has none


def pelvis_of_detections(
    data: Path, name: str, rng: np.random.Generator, method: str = "dlt", refine: bool = False
) -> tuple[PelvisSource, Iterator[RecordingPelvis]]:
    """The joint Hip of the detections called `name`, triangulated instant by instant, in the data set's loop order.

    Detections hold the lens distortion, which the built-in cameras first take out of them; the official programs work
    on undistorted images. `dlt` weighs each view by its confidence (column `confidences` where the table has it, else
    1); `ransac` draws its pairs of views from `rng` and asks of a confidence only whether it is 0. A view counts where
    its point is finite and its confidence above 0; with fewer than two an instant has no estimate.

    Hip is what the bundle's convention means by it: stacked-hourglass detections (SH_16) have MPII's pelvis there.
    Raises H36MError for an unknown method, and for detections that are missing, damaged or without Hip.
    """
    if method not in METHODS:
        raise H36MError(f"no method {method}; there are {', '.join(METHODS)}")
    if refine and method != "ransac":
        raise H36MError("only the method ransac can be refined")
    skeleton = bundled_skeleton(data, name)
    (joint,) = skeleton.indices((JOINT,))
    path = detections_path(data, name)
    weighted = CONFIDENCES in pq.read_schema(path).names
    settings: dict[str, str | int | float | bool] = {"method": method, "confidences": weighted}
    if method == "ransac":
        settings |= {"draws": RANSAC_DRAWS, "threshold_px": RANSAC_THRESHOLD_PX, "refined": refine}
    source = PelvisSource("detections", f"{name} {method}", path.name, sha256_of(path), skeleton.name, settings)
    return source, _triangulated_recordings(_views(data, name, joint), path, rng, method, refine)


def _views(data: Path, name: str, joint: int) -> Iterator[_View]:
    for detected in read_sequence_detections(data, name):
        confidences = np.ones(len(detected.joints_2d))
        if detected.confidences is not None:
            confidences = detected.confidences[:, joint].astype(np.float64)
            if not (confidences >= 0).all():
                path = detections_path(data, name)
                raise H36MError(f"{path}: {detected.sequence} has confidences that are no number from 0 upwards")
        yield _View(detected.sequence, detected.joints_2d[:, joint].astype(np.float64), confidences)


def _triangulated_recordings(
    views: Iterator[_View], path: Path, rng: np.random.Generator, method: str, refine: bool
) -> Iterator[RecordingPelvis]:
    last = -1
    for recording, group in groupby(views, key=lambda view: view.sequence.recording):
        if recording_code(recording) <= last:
            raise H36MError(
                f"{path}: {recording.subject}/{recording.stem} does not stand in the data set's order; bundle the "
                "detections again with `h36m detections`"
            )
        last = recording_code(recording)
        yield _triangulated_recording(recording, list(group), rng, method, refine)


def _triangulated_recording(
    recording: Recording, views: list[_View], rng: np.random.Generator, method: str, refine: bool
) -> RecordingPelvis:
    frames = max(len(view.pixels) for view in views)
    if len(views) < 2:
        return RecordingPelvis(recording, np.zeros(0, int), np.zeros((0, 3)), np.zeros(0, int), frames)
    cameras = [h36m_camera(view.sequence.subject, view.sequence.camera) for view in views]
    pixels = np.full((frames, len(views), 2), np.nan)
    confidences = np.zeros((frames, len(views)))
    for i, (view, camera) in enumerate(zip(views, cameras, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):  # far outside the image the lens model diverges
            pixels[: len(view.pixels), i] = camera.undistort(view.pixels)
        confidences[: len(view.pixels), i] = view.confidences
    seen = np.isfinite(pixels).all(axis=-1) & (confidences > 0)
    projections = projection_matrices(cameras)
    if method == "ransac":
        robust = triangulated_ransac(projections, pixels, rng, seen, refine=refine)
        points, used = robust.points_3d, robust.inliers
    else:
        weights = np.zeros_like(confidences)
        some = seen.any(axis=-1)
        weights[some] = normalised_confidences(np.where(seen, confidences, 0)[some])
        points, used = triangulated(projections, pixels, np.where(seen, weights, 0)), seen
    there = np.isfinite(points).all(axis=-1)
    count = used[there].sum(axis=-1)
    return RecordingPelvis(recording, np.flatnonzero(there), points[there], count, int((~there).sum()))


def pelvis_of_predictions(path: Path) -> tuple[PelvisSource, Iterator[RecordingPelvis]]:
    """The joint Hip of a predictions file (or of a run folder's), in the world frame, averaged over an instant's views.

    Column `joints_3d`, mm, camera frame, whose metadata must call the root absolute. Raises H36MError for poses that
    are relative to their root, which do not tell where the pelvis is, and for a damaged or inconsistent file.
    """
    path = path / PREDICTIONS_NAME if path.is_dir() else path
    schema = _prediction_schema(path)
    record = _provenance(path, schema)
    skeleton = pose_field(schema, PREDICTION_COLUMN).skeleton
    model = str(record.get("model", path.stem))
    source = PelvisSource("predictions", model, path.name, sha256_of(path), skeleton.name, {"mean": "views"})
    keys, points = _world_points(path)
    return source, averaged(keys, points)


def _prediction_schema(path: Path) -> pa.Schema:
    if not path.is_file():
        raise H36MError(f"{path}: no such file; expected predictions as Parquet, such as `h36m bench` writes")
    try:
        schema = pq.read_schema(path)
        field = pose_field(schema, PREDICTION_COLUMN)
    except (pa.ArrowException, OSError) as error:
        raise H36MError(f"{path}: cannot be read as Parquet ({error}); predict again") from error
    except H36MError as error:
        raise H36MError(f"{path}: {error}") from error
    if (field.dims, field.unit, field.frame) != (3, "mm", "camera"):
        found = f"{field.dims} numbers a joint in {field.unit or 'no unit'}, frame {field.frame or 'not named'}"
        raise H36MError(f"{path}: column {PREDICTION_COLUMN} holds {found}; expected 3 in mm, camera")
    return schema


def _provenance(path: Path, schema: pa.Schema) -> dict[str, object]:
    try:
        record = json.loads((schema.metadata or {}).get(b"h36m", b"{}"))
    except ValueError as error:
        raise H36MError(f"{path}: its `h36m` metadata is no JSON ({error}); predict again") from error
    root = record.get("root") if isinstance(record, dict) else None
    if root != "absolute":
        says = "are relative to their root joint" if root == "relative" else "do not say whether they are absolute"
        raise H36MError(
            f"{path}: its poses {says}, so they do not tell where the pelvis is; expected predictions in the camera "
            "frame whose provenance has root absolute. Triangulate 2D detections instead: `h36m pelvis DATA "
            "--detections NAME`"
        )
    return record


def _world_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Instant keys (rows,) and Hip (rows, 3), world, mm, of every row of a predictions file."""
    keys, rows, points = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty((0, 3))]
    for table in pose_row_groups(path, [PREDICTION_COLUMN]):
        skeleton = pose_field(table.schema, PREDICTION_COLUMN).skeleton
        hips = skeleton.select(pose_array(table, PREDICTION_COLUMN), (JOINT,))[:, 0].astype(np.float64)
        codes = sequence_codes(table)
        wrong = ~(np.isfinite(hips).all(axis=-1) & (hips[:, 2] > 0))
        if wrong.any():
            sequence = sequence_of_code(int(codes[wrong.argmax()]))
            raise H36MError(
                f"{path}: {wrong.sum()} poses have their Hip at no place in front of their camera, the first is of "
                f"{sequence}; expected camera-frame poses in mm"
            )
        world = np.empty_like(hips)
        for code in np.unique(codes):
            sequence = sequence_of_code(int(code))
            here = codes == code
            world[here] = h36m_camera(sequence.subject, sequence.camera).camera_to_world(hips[here])
        keys.append(instant_keys(table))
        rows.append(row_keys(table))
        points.append(world)
    if len(np.unique(np.concatenate(rows))) != sum(map(len, rows)):
        raise H36MError(f"{path}: the same sequence and frame is predicted more than once; expected one row each")
    return np.concatenate(keys), np.concatenate(points)
