"""Tables for tests of the judges, from poses by sequence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.predictions import (
    Predictions,
    Provenance,
    prediction_schema,
    read_predictions,
    write_predictions,
)
from h36m_toolbox.pose_tables import PoseField, sequence_table, table_schema
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_17, Skeleton

GOLDENS = Path(__file__).parents[1] / "data" / "metrics"

PROVENANCE = Provenance(
    model="semgcn",
    options={"non_local": True},
    weights_sha256="untrained",
    detections="gt",
    detections_sha256="ab",
    data_fingerprint="cd",
    protocol="",
    h36m_version="0.1.0",
    torch_version="2.13",
    numpy_version="2.4",
    python_version="3.11",
    device="cpu",
    created="2025-01-01T00:00:00+00:00",
    seconds=1.5,
    poses_per_s=100.0,
    root="relative",
)


def labels_of(poses: dict[Sequence, np.ndarray], frames: dict[Sequence, np.ndarray] | None = None) -> pa.Table:
    """A label table whose only pose column is joints_3d_camera; `poses` are (frames, 17, 3), mm."""
    schema = table_schema((PoseField("joints_3d_camera", H36M_17, 3, "mm", "camera"),))
    return _table(poses, frames, "joints_3d_camera", schema)


def prediction_table(
    poses: dict[Sequence, np.ndarray],
    skeleton: Skeleton = H36M_17,
    frames: dict[Sequence, np.ndarray] | None = None,
) -> pa.Table:
    return _table(poses, frames, "joints_3d", prediction_schema(skeleton))


def predictions_of(
    folder: Path,
    poses: dict[Sequence, np.ndarray],
    skeleton: Skeleton = H36M_17,
    frames: dict[Sequence, np.ndarray] | None = None,
    root: str = "relative",
) -> Predictions:
    """A predictions file of `poses` (frames, joints, 3), mm, written and read again."""
    path = folder / "predictions.parquet"
    write_predictions(path, prediction_table(poses, skeleton, frames), replace(PROVENANCE, root=root))
    return read_predictions(path)


def _table(
    poses: dict[Sequence, np.ndarray], frames: dict[Sequence, np.ndarray] | None, column: str, schema: pa.Schema
) -> pa.Table:
    return pa.concat_tables(
        sequence_table(sequence, (frames or {}).get(sequence, np.arange(len(values))), {column: values}, schema)
        for sequence, values in poses.items()
    )
