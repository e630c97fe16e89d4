from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from h36m_toolbox import RawArchive, read_labels
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.poseformer import _video_ids, poseformer_rows
from h36m_toolbox.formats.registry import FormatOptions, write_format
from h36m_toolbox.formats.toolbox import ImageFrames, toolbox_rows
from h36m_toolbox.labels import label_table
from h36m_toolbox.pose_tables import pose_array, pose_field, row_keys, sequence_codes, sequence_of_code
from h36m_toolbox.poses import SequencePoses
from h36m_toolbox.raw.archive import POSE_KINDS
from h36m_toolbox.selection import in_h36m_fetch, moved
from h36m_toolbox.sequences import CAMERA_IDS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.pickle_stream import PickledPart, pickled_part, write_pickled_list
from h36m_toolbox.storage.safe_pickle import read_plain_pickle

SPLIT_FILES = {"train": "h36m_train", "val": "h36m_validation"}
# of the official outputs; everything not named here must be equal
ATOL = {"box": 0.001, "center": 0.001, "scale": 1e-5, "joints_2d_gt_crop": 0.002, "joints_2d_cpn_crop": 0.002}


@pytest.mark.parametrize("split", SPLIT_FILES)
@pytest.mark.parametrize(("format_", "project"), [("toolbox", "h36m_toolbox"), ("poseformer", "ca_poseformer")])
def test_pickles_equal_the_official_ones_in_order_and_values(
    prepared: Path, golden_folder: Path, format_: str, project: str, split: str
) -> None:
    official_name = SPLIT_FILES[split].removeprefix("h36m_")
    golden = np.load(golden_folder / f"{project}_{official_name}.npz")
    records = read_plain_pickle(prepared / "labels" / format_ / f"{SPLIT_FILES[split]}.pkl")
    assert len(records) == len(golden["image"])
    for key in golden:
        ours = np.array([record[key] for record in records])
        assert ours.shape == golden[key].shape, key
        assert ours.dtype == golden[key].dtype, key
        if key in ATOL:
            np.testing.assert_allclose(ours, golden[key], rtol=0, atol=ATOL[key], err_msg=key)
        else:
            np.testing.assert_array_equal(ours, golden[key], err_msg=key)


@pytest.mark.parametrize(("format_", "project"), [("toolbox", "h36m_toolbox"), ("poseformer", "ca_poseformer")])
def test_pickles_equal_the_official_ones_in_keys_and_types(
    prepared: Path, golden_folder: Path, format_: str, project: str
) -> None:
    official = pickle.loads(gzip.decompress((golden_folder / f"{project}_train.pkl.gz").read_bytes()))
    ours = pickle.loads((prepared / "labels" / format_ / "h36m_train.pkl").read_bytes())
    for theirs, mine in zip(official, ours, strict=True):
        assert list(mine) == list(theirs)
        assert list(mine["camera"]) == list(theirs["camera"])
        for key, value in theirs.items():
            assert type(mine[key]) is type(value), key
        assert [type(x) for x in mine["center"] + mine["scale"]] == [
            type(x) for x in theirs["center"] + theirs["scale"]
        ]
        for key, value in theirs["camera"].items():
            assert (mine["camera"][key].dtype, mine["camera"][key].shape) == (value.dtype, value.shape), key
            np.testing.assert_allclose(mine["camera"][key], value, atol=1e-6, err_msg=key)
    # one camera object a view, as in the official files
    assert len({id(record["camera"]) for record in ours}) == len({id(record["camera"]) for record in official}) == 8


def test_pickles_name_only_what_numpy_1_can_import(prepared: Path) -> None:
    content = (prepared / "labels" / "toolbox" / "h36m_train.pkl").read_bytes()
    assert b"numpy._core" not in content
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content


def test_poses_without_an_image_are_left_out_and_counted(prepared: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(prepared / "raw")
    folder = tmp_path / "images" / "s_01_act_14_subact_01_ca_01"
    folder.mkdir(parents=True)
    for frame in (1, 3):
        (folder / f"{folder.name}_{frame:06d}.jpg").touch()
    report = write_format("toolbox", archive, tmp_path).files["train"]
    records = read_plain_pickle(tmp_path / "labels" / "toolbox" / "h36m_train.pkl")
    assert [record["image_id"] for record in records] == [1, 3]
    assert report.rows == 2
    assert report.differences()[0] == "S1/Walking 1.54138969: 24 poses left out, they have no image"


def test_formats_say_what_they_lack(prepared: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(prepared / "raw")
    with pytest.raises(H36MError, match=r"images: no frames.*h36m extract RAW.*--without-images"):
        write_format("toolbox", archive, tmp_path)
    with pytest.raises(H36MError, match=r"no CPN detections.*h36m detections RAW"):
        write_format("poseformer", archive, tmp_path, FormatOptions(without_images=True))


def test_an_unreadable_video_does_not_stop_poseformer(prepared: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for source in (prepared / "raw").rglob("*.cdf"):
        (raw / source.relative_to(prepared / "raw")).parent.mkdir(parents=True, exist_ok=True)
        (raw / source.relative_to(prepared / "raw")).symlink_to(source)
    (raw / "S1" / "Videos").mkdir()
    (raw / "S1" / "Videos" / "Walking.54138969.mp4").write_bytes(b"no video")
    (tmp_path / "detections").symlink_to(prepared / "detections")
    report = write_format("poseformer", RawArchive.open(raw), tmp_path, FormatOptions(without_images=True))
    assert report.files["train"].rows == 238


def made_up_poses(sequence: Sequence, frames: int, seed: int = 0) -> SequencePoses:
    rng = np.random.default_rng(seed)
    world = (rng.normal(0, 300, (frames, 32, 3)) + [0, 0, 900]).astype(np.float32)
    camera = h36m_camera(sequence.subject, sequence.camera)
    in_camera = camera.world_to_camera(world)
    image = camera.project(in_camera).astype(np.float32)
    return SequencePoses(sequence, world, in_camera.astype(np.float32), in_camera.astype(np.float32), image)


def test_video_ids_count_the_recordings_that_poseformer_skips() -> None:
    before, after = Sequence("S11", "Directions", 1, CAMERA_IDS[3]), Sequence("S11", "Discussion", 1, CAMERA_IDS[0])
    skipped = Sequence("S11", "Directions", 2, CAMERA_IDS[0])
    numbers = _video_ids({before, skipped, after}, {before, after})
    assert numbers[after] == numbers[before] + 1
    assert skipped not in numbers
    assert _video_ids(set(), set()) == numbers  # a partial data set numbers its sequences as the whole one does
    assert _video_ids({before, skipped, after}, {before, skipped, after})[after] == numbers[after] + 4


def test_poseformer_records_follow_the_shortest_of_poses_and_detections() -> None:
    poses = made_up_poses(Sequence("S5", "Eating", 1, "55011271"), 9)
    records = poseformer_rows(poses, np.zeros((7, 17, 2), np.float32), (1000, 1000), ImageFrames(None), 3)
    assert [record["nposes"] for record in records] == [7] * 7
    assert [record["image_id"] for record in toolbox_rows(poses, ImageFrames((0, 8, 12)), 3)] == [1, 9]
    assert list(toolbox_rows(poses, ImageFrames((12,)), 3)) == []


def test_a_list_written_in_parts_is_the_whole_list(tmp_path: Path) -> None:
    shared = {"R": np.eye(3)}
    parts = [[{"camera": shared, "x": np.arange(k, dtype=np.float32), "f": np.float64(k)}] * 2 for k in range(3)]
    assert write_pickled_list(tmp_path / "list.pkl", map(pickled_part, [parts[0], [], parts[1], parts[2]])) == 6
    loaded = pickle.loads((tmp_path / "list.pkl").read_bytes())
    assert [record["f"] for record in loaded] == [0, 0, 1, 1, 2, 2]
    assert loaded[0]["camera"] is loaded[1]["camera"]
    np.testing.assert_array_equal(loaded[5]["x"], np.arange(2))


def test_an_interrupted_pickle_leaves_nothing_behind(tmp_path: Path) -> None:
    def parts() -> Iterator[PickledPart]:
        yield pickled_part([1, 2])
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        write_pickled_list(tmp_path / "list.pkl", parts())
    assert not list(tmp_path.iterdir())


def test_labels_hold_the_poses_of_the_raw_files(prepared: Path) -> None:
    table = read_labels(prepared, "train")
    archive = RawArchive.open(prepared / "raw")
    codes = sequence_codes(table)
    assert len(np.unique(codes)) == 8
    for code in np.unique(codes):
        rows = table.filter(codes == code)
        poses = archive.read_poses(sequence_of_code(int(code)))
        assert rows.column("frame").to_pylist() == list(range(poses.frames))
        for column, source in (("joints_3d_world", poses.world), ("joints_2d", poses.image)):
            np.testing.assert_array_equal(
                pose_array(rows, column), H36M_32.select(source[: poses.frames], H36M_17.joints), err_msg=column
            )
    assert (np.diff(row_keys(table)) > 0).all()


def test_label_columns_say_joints_unit_and_frame(prepared: Path) -> None:
    schema = read_labels(prepared, "val", ["joints_2d", "joints_3d_world"]).schema
    image, world = pose_field(schema, "joints_2d"), pose_field(schema, "joints_3d_world")
    assert (image.skeleton, image.unit, image.frame) == (H36M_17, "px", "image")
    assert (world.skeleton, world.unit, world.frame) == (H36M_17, "mm", "world")


def test_pose_columns_view_as_numpy_without_a_copy() -> None:
    table = label_table(made_up_poses(Sequence("S1", "Eating", 1, "54138969"), 5))
    column = table.column("joints_3d_world").chunk(0).flatten()
    assert pose_array(table, "joints_3d_world").ctypes.data == column.buffers()[1].address


def test_there_is_one_row_group_a_sequence(prepared: Path) -> None:
    with pq.ParquetFile(prepared / "labels" / "parquet" / "val.parquet") as file:
        assert file.num_row_groups == 8
        assert [file.metadata.row_group(i).num_rows for i in range(8)] == [131] * 4 + [29] * 4


def test_pandas_reads_the_labels_directly(prepared: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(prepared / "labels" / "parquet" / "train.parquet")
    assert frame.groupby(["subject", "action", "camera"], observed=True).size().to_list() == [60, 60, 58, 60]


def test_lengths_that_disagree_are_cut_and_reported(prepared: Path) -> None:
    (train, _) = json.loads((prepared / "labels" / "parquet" / "report.json").read_text())["files"].values()
    assert train["cut"] == {
        "S1/Walking 1.58860488": {"world": 26, "camera": 26, "universal": 26, "image": 24, "kept": 24}
    }


def test_a_video_with_fewer_frames_than_poses_is_reported(prepared: Path, tmp_path: Path) -> None:
    name = "s_09_act_14_subact_01_ca_01"
    manifest = json.loads((prepared / "manifests" / "images" / f"{name}.json").read_text())
    target = tmp_path / "manifests" / "images"
    target.mkdir(parents=True)
    (target / f"{name}.json").write_text(json.dumps({**manifest, "decoded_frames": 100}))
    report = write_format("parquet", RawArchive.open(prepared / "raw"), tmp_path)
    assert "S9/Walking 1.54138969: fewer images than poses, poses 131, video 100" in report.lines()


def test_a_damaged_file_leaves_its_sequence_out_and_is_told(prepared: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for source in (prepared / "raw").rglob("*.cdf"):
        target = raw / source.relative_to(prepared / "raw")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()[: 500 if source.name == "Walking.54138969.cdf" else None])
    report = write_format("parquet", RawArchive.open(raw), tmp_path / "data")
    assert report.damaged
    assert report.files["train"].sequences == report.files["val"].sequences == 7


def test_poses_that_are_derived_are_named(prepared: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for source in (prepared / "raw").rglob("*.cdf"):
        if "D2_Positions" not in source.parts or "Walking 1" not in source.name:
            (raw / source.relative_to(prepared / "raw")).parent.mkdir(parents=True, exist_ok=True)
            (raw / source.relative_to(prepared / "raw")).symlink_to(source)
    archive = RawArchive.open(raw)
    assert len(archive.sequences(POSE_KINDS)) == 8
    report = write_format("parquet", archive, tmp_path / "data")
    told = "8 sequences (S1/Walking 1.54138969, ...): D2_Positions is not there; derived with the built-in cameras"
    assert told in report.lines()


def test_missing_labels_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="run `h36m labels RAW"):
        read_labels(tmp_path, "train")
    with pytest.raises(H36MError, match="the splits are train and val"):
        read_labels(tmp_path, "test")


def test_a_damaged_label_file_is_named(prepared: Path, tmp_path: Path) -> None:
    whole = (prepared / "labels" / "parquet" / "val.parquet").read_bytes()
    cut = tmp_path / "labels" / "parquet" / "val.parquet"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(H36MError, match=r"val\.parquet: cannot be read as Parquet"):
        read_labels(tmp_path, "val")


def test_the_frame_selection_is_h36m_fetchs(prepared: Path, golden_folder: Path) -> None:
    golden = np.load(golden_folder / "h36m_fetch_frames.npz")
    archive = RawArchive.open(prepared / "raw")
    compared = 0
    for subject in ("S1", "S9"):
        for subaction in (1, 2):
            frames, cameras = (golden[f"{subject}/Walking-{subaction}/{name}"] for name in ("frame", "camera"))
            for camera in np.unique(cameras):
                poses = archive.read_poses(Recording(subject, "Walking", subaction).view(str(camera)))
                chosen = np.flatnonzero(in_h36m_fetch(poses)) + 1
                np.testing.assert_array_equal(chosen, frames[cameras == camera])
                compared += 1
    assert compared >= 14


def test_a_figure_that_stands_still_is_kept_once() -> None:
    still = np.zeros((1000, 32, 3), np.float32)
    assert moved(still, 40).sum() == 1
    creeping = still + np.arange(1000, dtype=np.float32)[:, None, None] * [1, 0, 0]
    np.testing.assert_array_equal(np.flatnonzero(moved(creeping.astype(np.float32), 40)), np.arange(0, 1000, 40))
