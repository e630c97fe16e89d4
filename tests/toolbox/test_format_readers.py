"""Round trips: every format as the command writes it, read back, holds the label table's rows."""

from __future__ import annotations

import gzip
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from synthetic_data import WritesAFile, done

from h36m_toolbox import read_labels
from h36m_toolbox.detections.bundles import read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.integral import integral_meta_path
from h36m_toolbox.formats.registry import FORMATS, read_format
from h36m_toolbox.labels import LABEL_FIELDS
from h36m_toolbox.pose_tables import KEYS, pose_array, pose_field, row_keys
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.storage.safe_pickle import read_plain_pickle

# Metres in float32: one rounding on the way out, one on the way back, each half a unit in the last place.
FROM_METRES = 2.0**-23
EXACT = {
    "parquet": ("joints_2d", "joints_3d_world", "joints_3d_camera", "joints_3d_universal"),
    "toolbox": ("joints_2d", "joints_3d_camera", "joints_3d_universal"),
    "h36m-fetch": ("joints_2d", "joints_3d_camera", "joints_3d_universal"),
    "multiview": ("joints_3d_world",),
    "mmpose": ("joints_2d",),
    "integral": ("joints_3d_world",),
}
ROUNDED = {
    "poseformer": ("joints_2d", "joints_3d_camera"),  # x * 2 / w in float32 and back: the same two roundings
    "videopose3d": ("joints_3d_world",),
    "mmpose": ("joints_3d_camera",),
}
# S1 Walking 1.58860488 has 24 D2 poses and 26 of the others, which the formats without D2 keep; h36m-fetch and the
# multi-view labels leave that view out, and select frames.
ROWS = {"videopose3d": 880, "integral": 880, "h36m-fetch": 159, "multiview": 159}


@pytest.fixture(scope="module")
def exported(archives_folder: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with every format, from the archives as downloaded."""
    data = tmp_path_factory.mktemp("formats")
    shutil.copytree(prepared / "detections", data / "detections")
    formats = [word for name in FORMATS for word in ("--format", name)]
    done("labels", archives_folder, "--out", data, "--without-images", "--jobs", 1, *formats)
    return data


@pytest.fixture(scope="module")
def labels(exported: Path) -> pa.Table:
    return pa.concat_tables([read_labels(exported, split) for split in ("train", "val")])


def common_rows(table: pa.Table, labels: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Places in both tables of the rows that both have."""
    _, ours, theirs = np.intersect1d(row_keys(table), row_keys(labels), assume_unique=True, return_indices=True)
    return ours, theirs


@pytest.mark.parametrize("name", FORMATS)
def test_rows_and_columns_are_keyed_like_the_labels(exported: Path, labels: pa.Table, name: str) -> None:
    table = read_format(name, exported)
    assert len(table) == ROWS.get(name, len(labels)) == len(np.unique(row_keys(table)))
    expected = len(table) - 2 if ROWS.get(name) == 880 else len(table)
    assert len(common_rows(table, labels)[0]) == expected
    assert tuple(table.schema.names[: len(KEYS)]) == KEYS
    held = {*EXACT.get(name, ()), *ROUNDED.get(name, ())}
    assert held <= set(table.schema.names)
    for field in LABEL_FIELDS:
        if field.name in held:
            assert pose_field(table.schema, field.name) == field


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in EXACT for column in EXACT[name]])
def test_lossless_columns_come_back_to_the_last_bit(exported: Path, labels: pa.Table, name: str, column: str) -> None:
    table = read_format(name, exported)
    ours, theirs = common_rows(table, labels)
    np.testing.assert_array_equal(pose_array(table, column)[ours], pose_array(labels, column)[theirs])


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in ROUNDED for column in ROUNDED[name]])
def test_converted_units_come_back_within_two_float32_roundings(
    exported: Path, labels: pa.Table, name: str, column: str
) -> None:
    table = read_format(name, exported)
    ours, theirs = common_rows(table, labels)
    expected = pose_array(labels, column)[theirs].astype(np.float64)
    np.testing.assert_allclose(
        pose_array(table, column)[ours].astype(np.float64), expected, rtol=FROM_METRES * (1 + 1e-6), atol=1e-9
    )


def test_videopose3ds_projection_is_the_bundled_ground_truth(exported: Path) -> None:
    table, bundled = read_format("videopose3d", exported), read_detections(exported, "gt")
    ours, theirs = common_rows(table, bundled)
    assert len(ours) == len(bundled) == 880
    np.testing.assert_array_equal(pose_array(table, "joints_2d")[ours], pose_array(bundled, "joints_2d")[theirs])


def test_poseformers_detections_are_the_bundled_ones(exported: Path) -> None:
    table, bundled = read_format("poseformer", exported), read_detections(exported, "cpn")
    ours, theirs = common_rows(table, bundled)
    assert len(ours) == 878
    np.testing.assert_allclose(
        pose_array(table, "joints_2d_cpn")[ours], pose_array(bundled, "joints_2d")[theirs], rtol=2.0**-22, atol=0
    )


OFFICIAL_FILES = {
    "toolbox": {"h36m_train.pkl": "h36m_toolbox_train.pkl.gz"},
    "poseformer": {"h36m_train.pkl": "ca_poseformer_train.pkl.gz"},
    "videopose3d": {"data_3d_h36m.npz": "data_3d_h36m.npz", "data_2d_h36m_gt.npz": "data_2d_h36m_gt.npz"},
    "h36m-fetch": {"processed/S1/Walking-1/annot.h5": "h36m_fetch_S1_Walking-1_annot.h5"},
    "multiview": {"human36m-multiview-labels-GTbboxes.npy": "multiview_labels.npy"},
    "mmpose": {
        "annotation_body3d/fps50/h36m_train.npz": "mmpose_fps50_train.npz",
        "annotation_body3d/fps50/h36m_test.npz": "mmpose_fps50_test.npz",
    },
}


@pytest.mark.parametrize("name", OFFICIAL_FILES)
def test_files_of_the_official_scripts_are_read_as_ours(
    exported: Path, golden_folder: Path, tmp_path: Path, name: str
) -> None:
    for file, golden in OFFICIAL_FILES[name].items():
        target = tmp_path / "labels" / name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        content = (golden_folder / golden).read_bytes()
        target.write_bytes(gzip.decompress(content) if golden.endswith(".gz") else content)
    official, ours = read_format(name, tmp_path), read_format(name, exported)
    theirs, mine = common_rows(official, ours)
    assert len(theirs) == len(official) > 0
    assert official.schema == ours.schema
    for column in official.schema.names[len(KEYS) :]:
        atol = 0.002 if (name, column) == ("videopose3d", "joints_2d") else 0
        np.testing.assert_allclose(
            pose_array(official, column)[theirs], pose_array(ours, column)[mine], rtol=0, atol=atol, err_msg=column
        )


@pytest.mark.parametrize("name", FORMATS)
def test_one_split_is_read_alone(exported: Path, name: str) -> None:
    whole, parts = read_format(name, exported), [read_format(name, exported, split) for split in ("train", "val")]
    assert set(parts[0].column("subject").unique().to_pylist()) == {"S1"}
    assert set(parts[1].column("subject").unique().to_pylist()) == {"S9"}
    assert pa.concat_tables(parts).equals(whole)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_was_not_written_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(H36MError, match=rf"{tmp_path}.*h36m labels RAW"):
        read_format(name, tmp_path)


def test_names_that_do_not_exist_are_told(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="no label format coco; there are parquet, toolbox"):
        read_format("coco", tmp_path)
    with pytest.raises(H36MError, match="no split test; the splits are train and val"):
        read_format("parquet", tmp_path, "test")


@pytest.mark.parametrize("name", ["toolbox", "poseformer"])
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "labels" / name / "h36m_train.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps([WritesAFile(tmp_path / "ran")]))
    with pytest.raises(H36MError, match=r"h36m_train\.pkl: refused to unpickle"):
        read_format(name, tmp_path)
    assert not (tmp_path / "ran").exists()


def rewritten(exported: Path, tmp_path: Path, name: str, file: str) -> Path:
    """A copy of one file of a format in a DATA of its own."""
    copy = tmp_path / "labels" / name / file
    copy.parent.mkdir(parents=True)
    shutil.copy(exported / "labels" / name / file, copy)
    return copy


@pytest.mark.parametrize("name", ["toolbox", "poseformer"])
def test_records_of_another_kind_are_refused(exported: Path, tmp_path: Path, name: str) -> None:
    path = rewritten(exported, tmp_path, name, "h36m_train.pkl")
    records = read_plain_pickle(path)
    for change in ({"camera_id": 7}, {"action": 99}, {"subaction": 3}, {"joints_3d": np.zeros((16, 3))}):
        path.write_bytes(pickle.dumps([{**records[0], **change}]))
        with pytest.raises(H36MError, match=r"h36m_train\.pkl: its records are not those of the format"):
            read_format(name, tmp_path)
    path.write_bytes(pickle.dumps({"a": "dict"}))
    with pytest.raises(H36MError, match=r"h36m_train\.pkl: refused to unpickle \(its outermost object is no list"):
        read_format(name, tmp_path)


def test_poseformers_records_of_images_of_another_size_are_refused(exported: Path, tmp_path: Path) -> None:
    path = rewritten(exported, tmp_path, "poseformer", "h36m_train.pkl")
    record = read_plain_pickle(path)[0]
    shifted = record["joints_2d_gt"] + np.array([0, 2 / 1000])  # the height that was divided by is 2 px less
    path.write_bytes(pickle.dumps([{**record, "joints_2d_gt": shifted}]))
    with pytest.raises(H36MError, match="was normalised by another size than 1000 x 1002"):
        read_format("poseformer", tmp_path)


def test_misaligned_names_are_refused(tmp_path: Path, synthetic_raw: Path) -> None:
    options = ("--format", "mmpose", "--mmpose-misaligned", "--jobs", 1)
    done("labels", synthetic_raw, "--out", tmp_path, *options)
    assert len(read_format("mmpose", tmp_path, "train")) == 24 * 8
    with pytest.raises(H36MError, match=r"376 image names for 384 rows, misaligned as officially"):
        read_format("mmpose", tmp_path, "val")


def test_annotations_whose_datasets_disagree_are_refused(exported: Path, tmp_path: Path) -> None:
    path = rewritten(exported, tmp_path, "h36m-fetch", "processed/S1/Walking-1/annot.h5")
    with h5py.File(path, "a") as file:
        del file["frame"]
        file["frame"] = np.arange(3)
    with pytest.raises(H36MError, match=r"annot\.h5: 3 frames, .* do not fit"):
        read_format("h36m-fetch", tmp_path)
    path.write_bytes(b"no hdf5")
    with pytest.raises(H36MError, match=r"annot\.h5: cannot be read as h36m-fetch's annotations"):
        read_format("h36m-fetch", tmp_path)


def test_a_labels_file_without_its_table_is_refused(exported: Path, tmp_path: Path) -> None:
    path = rewritten(exported, tmp_path, "multiview", "human36m-multiview-labels-GTbboxes.npy")
    np.save(path, np.array({"table": np.zeros(3)}, dtype=object), allow_pickle=True)
    with pytest.raises(H36MError, match="no multi-view label table, it lacks subject_names"):
        read_format("multiview", tmp_path)


def test_a_damaged_meta_file_is_named(exported: Path, tmp_path: Path) -> None:
    view = Sequence("S1", "Walking", 1, "54138969")
    place = integral_meta_path(Path(), view).relative_to(Path("labels", "integral")).as_posix()
    path = rewritten(exported, tmp_path, "integral", place)
    path.write_text(path.read_text()[:2000])
    with pytest.raises(H36MError, match=r"matlab_meta\.txt: "):
        read_format("integral", tmp_path)
