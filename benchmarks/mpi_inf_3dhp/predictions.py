"""Predictions on MPI-INF-3DHP's test set as a file: a pose a row in Parquet, with its provenance.

Columns `sequence`, `frame` (from 0) and `joints_3d` (mm, camera frame, relative to the pelvis, float64, the
evaluation's 17 joints), for the valid frames only; the metadata are those of `benchmarks.predictions`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.benchmarks.predictions import METADATA_KEY, PREDICTION_COLUMN, Provenance, provenance_of_schema
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.sequences import TEST_SEQUENCES
from h36m_toolbox.skeletons import MPI_INF_3DHP_17
from h36m_toolbox.storage.files import written_whole

_JOINTS = len(MPI_INF_3DHP_17)
_ENCODED = {"use_dictionary": ["sequence"], "use_byte_stream_split": [f"{PREDICTION_COLUMN}.list.element"]}


def prediction_schema() -> pa.Schema:
    """The columns of such a file."""
    facts = {"joints": json.dumps(MPI_INF_3DHP_17.joints), "unit": "mm", "coordinate_frame": "camera"}
    return pa.schema(
        [
            pa.field("sequence", pa.dictionary(pa.int8(), pa.string()), nullable=False),
            pa.field("frame", pa.int32(), nullable=False),
            pa.field(PREDICTION_COLUMN, pa.list_(pa.float64(), 3 * _JOINTS), nullable=False, metadata=facts),
        ]
    )


def write_test_predictions(
    path: Path, predictions: dict[str, np.ndarray], truth: list[TestAnnotations], provenance: Provenance
) -> None:
    """Write predictions (valid frames, 17, 3), mm, by sequence, whole or not at all."""
    frames = [np.flatnonzero(sequence.valid) for sequence in truth]
    poses = np.concatenate([predictions[sequence.sequence] for sequence in truth]).astype(np.float64)
    names = [sequence.sequence for sequence in truth]
    codes = np.repeat(np.arange(len(names), dtype=np.int8), [len(numbers) for numbers in frames])
    schema = prediction_schema()
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names)),
        pa.array(np.concatenate(frames).astype(np.int32)),
        pa.FixedSizeListArray.from_arrays(pa.array(poses.reshape(-1)), type=schema.field(PREDICTION_COLUMN).type),
    ]
    table = pa.table(columns, schema=schema.with_metadata({METADATA_KEY: json.dumps(asdict(provenance))}))
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=1, **_ENCODED)


def read_test_prediction_file(path: Path) -> tuple[dict[str, np.ndarray], Provenance]:
    """Predictions (frames, 17, 3), mm, float64, by sequence, in the order of their frames, and where they come from.

    Raises H36MError for a file that is none of these.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise H36MError(f"{path}: no readable Parquet file ({error}); run the model again") from error
    provenance = provenance_of_schema(table.schema, path)
    if not table.schema.equals(prediction_schema()):
        raise H36MError(
            f"{path}: has the columns {', '.join(table.schema.names)}; predictions on MPI-INF-3DHP have "
            f"{', '.join(prediction_schema().names)}, such as `h36m bench --dataset mpi-inf-3dhp` writes"
        )
    sequences = np.asarray(table.column("sequence").to_pylist(), object)
    frames = table.column("frame").to_numpy()
    poses = table.column(PREDICTION_COLUMN).combine_chunks().flatten().to_numpy().reshape(-1, _JOINTS, 3)
    found = {}
    for name in dict.fromkeys(sequences.tolist()):
        rows = np.flatnonzero(sequences == name)
        if name not in TEST_SEQUENCES or len(np.unique(frames[rows])) != len(rows):
            raise H36MError(f"{path}: {name} is no test sequence, or has a frame twice; run the model again")
        found[name] = poses[rows[np.argsort(frames[rows])]]
    return found, provenance
