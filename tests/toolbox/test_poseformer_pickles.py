"""Context-Aware PoseFormer's official pickles become a DATA folder, once, and keep their values."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.poseformer_inputs import import_pickles, read_official_inputs
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import KEYS, pose_array, row_keys
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.safe_pickle import read_plain_pickle


@pytest.fixture
def official(prepared: Path, tmp_path: Path) -> Path:
    """The official repository's H36M-Toolbox folder: two pickles and images/."""
    folder = tmp_path / "H36M-Toolbox"
    shutil.copytree(prepared / "labels" / "poseformer", folder)
    (folder / "images").symlink_to(prepared / "images")
    return folder


def test_inputs_are_the_pickles_digit_for_digit(official: Path) -> None:
    assert import_pickles(official, official).rows == {"train": 238, "val": 640}
    for split, name in (("train", "h36m_train.pkl"), ("val", "h36m_validation.pkl")):
        keys = row_keys(read_labels(official, split, []))
        shuffled = np.random.default_rng(0).permutation(len(keys))
        found = read_official_inputs(official, keys[shuffled])
        assert found is not None
        in_order = read_plain_pickle(official / name)
        records = [in_order[row] for row in shuffled]
        for ours, key in (
            (found.centers, "center"),
            (found.scales, "scale"),
            (found.joints_crop, "joints_2d_cpn_crop"),
            (found.joints_3d, "joints_3d"),
        ):
            theirs = np.array([record[key] for record in records])
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        screen = np.array([record["joints_2d_cpn"] for record in records]).astype(np.float32)
        np.testing.assert_array_equal(found.joints_2d, screen)


def test_labels_and_detections_are_those_of_the_archive(official: Path, prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    import_pickles(official, data)
    labels, expected = read_labels(data, "val"), read_labels(prepared, "val")
    expected = expected.take(np.flatnonzero(np.isin(row_keys(expected), row_keys(labels))))
    assert labels.select(KEYS).equals(expected.select(KEYS))
    for column, atol in (("joints_2d", 1e-4), ("joints_3d_camera", 1e-3), ("joints_3d_world", 2e-3)):
        np.testing.assert_allclose(pose_array(labels, column), pose_array(expected, column), rtol=0, atol=atol)
    for name, atol in (("gt", 1e-3), ("cpn", 1e-4)):  # the archive's gt is projected, the pickles' is its 2D file's
        found, theirs = (
            match_detections(expected, read_detections(folder, name), name, H36M_17.joints)
            for folder in (data, prepared)
        )
        np.testing.assert_allclose(found, theirs, rtol=0, atol=atol)
    assert (data / "images").samefile(prepared / "images")


def test_what_was_read_is_not_read_again(official: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    import_pickles(official, data)
    made = {path: path.stat().st_mtime_ns for path in data.rglob("*.parquet")}
    assert import_pickles(official, data).rows == {}
    os.utime(official / "h36m_train.pkl", (0, 0))  # copied, with the same content
    assert import_pickles(official, data).rows == {}
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.parquet")} == made
    records = read_plain_pickle(official / "h36m_validation.pkl")
    (official / "h36m_validation.pkl").write_bytes(pickle.dumps(records[:5]))
    assert import_pickles(official, data).rows["val"] == 5
    assert len(read_labels(data, "val")) == 5


def test_frames_without_an_image_are_not_there(official: Path, tmp_path: Path) -> None:
    path = official / "h36m_train.pkl"
    records = read_plain_pickle(path)
    path.write_bytes(pickle.dumps([record for record in records if record["image_id"] != 2]))
    (official / "h36m_validation.pkl").unlink()
    import_pickles(official, tmp_path / "data")
    labels = read_labels(tmp_path / "data", "train")
    assert 1 not in labels.column("frame").to_pylist()
    pixels = match_detections(labels, read_detections(tmp_path / "data", "cpn"), "cpn", H36M_17.joints)
    assert np.isfinite(pixels).all()
    with pytest.raises(H36MError, match="lacks 1 of 1 frames"):
        read_official_inputs(tmp_path / "data", row_keys(labels)[:1] + 1)


def test_an_interrupted_reading_is_done_again(official: Path, tmp_path: Path) -> None:
    data, path = tmp_path / "data", official / "h36m_validation.pkl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    with pytest.raises(H36MError, match=r"h36m_validation\.pkl: (cannot be unpickled|refused)"):
        import_pickles(official, data)
    assert not (data / "labels" / "parquet" / "val.parquet").exists()
    path.write_bytes(whole)
    assert import_pickles(official, data).rows.keys() == {"train", "val"}


def test_other_folders_are_refused(official: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(H36MError, match=r"holds neither h36m_train\.pkl nor h36m_validation\.pkl"):
        import_pickles(tmp_path, tmp_path / "data")
    (official / "images").unlink()
    with pytest.raises(H36MError, match="no folder with the frames; give it with --images"):
        import_pickles(official, tmp_path / "data")
    with pytest.raises(H36MError, match="labels that were not made from"):
        import_pickles(official, prepared, prepared / "images")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(H36MError, match="other frames than those in"):
        import_pickles(official, prepared, other)
    path = official / "h36m_train.pkl"
    path.write_bytes(pickle.dumps(read_plain_pickle(path)[::-1]))
    with pytest.raises(H36MError, match="do not follow each other"):
        import_pickles(official, tmp_path / "data", other)
