"""Our files in other people's readers: what datasets.md shows is run as it stands there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from synthetic_data import done

from h36m_toolbox.detections.bundles import read_detections
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.skeletons import H36M_17, SH_16

DATASETS = Path(__file__).parents[2] / "datasets.md"
HEADING = "## In pandas, Polars, DuckDB and Hugging Face datasets"


@pytest.fixture(scope="module")
def data(prepared: Path, unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels, detections, pelvis estimates, and one packed view of S9."""
    data = tmp_path_factory.mktemp("ecosystem") / "data"
    for part in ("labels/parquet", "detections"):
        shutil.copytree(prepared / part, data / part)
    done("pelvis", data, "--detections", "cpn")
    one_view = ("--subjects", "S9", "--cameras", "55011271")
    done("extract", unpacked, "--out", data, "--pack", "--every", 32, *one_view, "--jobs", 1)
    return data


def example(reader: str) -> str:
    """The code block of the section that imports `reader`."""
    section = DATASETS.read_text().split(HEADING)[1].split("\n## ")[0]
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", section, re.S) if reader in block.split("\n")[0])
    return block


def run(reader: str, data: Path) -> dict[str, Any]:
    """What the example leaves in its names."""
    names: dict[str, Any] = {}
    exec(example(reader).replace("DATA", data.as_posix()), names)  # noqa: S102 - the documentation's own lines
    return names


def test_the_pandas_example_gives_the_labels(data: Path) -> None:
    poses = run("pandas", data)["poses"]
    np.testing.assert_array_equal(poses, pose_array(read_labels(data, "val"), "joints_3d_camera"))


def test_the_polars_example_gives_the_detections(data: Path) -> None:
    pixels = run("polars", data)["pixels"]
    detections = read_detections(data, "cpn")
    of_camera = detections.filter(pc.equal(detections["camera"].cast("string"), "54138969"))
    np.testing.assert_array_equal(pixels, pose_array(of_camera, "joints_2d"))


def test_the_duckdb_example_joins_reads_metadata_and_frames(data: Path) -> None:
    names = run("duckdb", data)
    assert names["errors"]["action"].tolist() == ["Walking"]
    assert names["errors"]["frames"].tolist() == [640]
    assert 10 < names["errors"]["px"][0] < 100
    assert any('"joints"' in value for (value,) in names["facts"])
    assert len(names["jpegs"]) > 0
    assert all(bytes(jpeg[:2]) == b"\xff\xd8" for jpeg in names["jpegs"]["jpeg"])


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb", "datasets"])
def test_every_reader_has_an_example(reader: str) -> None:
    compile(example(reader), reader, "exec")


def in_h36m_17(unit: str, frame: str) -> dict[str, Any]:
    return {"joints": list(H36M_17.joints), "unit": unit, "coordinate_frame": frame}


COLUMNS = {
    "labels/parquet/val.parquet": {
        "joints_2d": in_h36m_17("px", "image"),
        "joints_3d_world": in_h36m_17("mm", "world"),
        "joints_3d_camera": in_h36m_17("mm", "camera"),
        "joints_3d_universal": {**in_h36m_17("mm", "universal camera"), "without_pose": "NaN"},
    },
    "detections/cpn.parquet": {"joints_2d": in_h36m_17("px", "image")},
    "detections/sh.parquet": {"joints_2d": {**in_h36m_17("px", "image"), "joints": list(SH_16.joints)}},
    "pelvis/val.parquet": {"pelvis": {"joints": ["Hip"], "unit": "mm", "coordinate_frame": "world"}},
}


@pytest.mark.parametrize("file", COLUMNS)
def test_files_say_joints_units_and_frames_to_arrow_and_to_everyone_else(data: Path, file: str) -> None:
    facts_of_file = pq.read_metadata(data / file).metadata
    assert json.loads(facts_of_file[b"columns"]) == COLUMNS[file]
    assert json.loads(facts_of_file[b"h36m"])["table"] in file
    schema = pq.read_schema(data / file)
    for column, facts in COLUMNS[file].items():
        metadata = {key.decode(): value.decode() for key, value in schema.field(column).metadata.items()}
        assert {**metadata, "joints": json.loads(metadata["joints"])} == facts


def test_packed_frames_say_what_they_are(data: Path) -> None:
    shard = next((data / "images").glob("*.parquet"))
    metadata = pq.read_schema(shard).metadata
    facts = json.loads(metadata[b"h36m"])
    assert (facts["table"], facts["unit"], facts["coordinate_frame"]) == ("frames", "px", "image")
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
