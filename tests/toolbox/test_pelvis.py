from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from synthetic_data import WritesAFile, digests, done, h36m, refused

from h36m_toolbox.detections.bundles import read_sequence_detections, write_detections
from h36m_toolbox.detections.files import DetectedSequence, DetectionSource
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.multiview import ACTION_NAMES, ROW_DTYPE, camera_array
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pelvis.estimates import SCHEMA, instant_keys, pelvis_array, pelvis_errors, read_pelvis
from h36m_toolbox.pelvis.results import pelvis_of_results
from h36m_toolbox.pose_tables import PoseField, pose_array, pose_column, table_schema
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import H36M_17, MULTIVIEW_17
from h36m_toolbox.storage.pickle_stream import write_object_npy
from h36m_toolbox.views.labels import read_label_table

OFFICIAL = Path(__file__).parents[1] / "data" / "pelvis"
ROOT = MULTIVIEW_17.joints.index("Hip")


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """Labels and detections that a test may add to."""
    for part in ("labels/parquet", "detections"):
        shutil.copytree(prepared / part, tmp_path / "data" / part)
    return tmp_path / "data"


@pytest.fixture
def table(golden_folder: Path) -> Path:
    """The official multi-view label table of the reduced archive."""
    return golden_folder / "multiview_labels.npy"


def mean_error(data: Path, split: str = "val") -> float:
    errors = pelvis_errors(data, split)
    assert errors is not None
    return float(np.concatenate(list(errors.by_subject.values())).mean())


def bundle(data: Path, name: str, detected: list[DetectedSequence]) -> Path:
    return write_detections(data, DetectionSource(name, f"{name}.npz", "0" * 64, H36M_17), detected, {}).path


def with_confidences(path: Path, confidences: np.ndarray) -> None:
    """Add confidences (rows, 17) to a bundle, whose row groups stay."""
    rows = pq.read_table(path)
    field = PoseField("confidences", H36M_17, 1, "", "image").arrow
    rows = rows.append_column(field, pose_column(confidences[..., None], field.type))
    sizes = pq.ParquetFile(path).metadata
    with pq.ParquetWriter(path, rows.schema) as writer:
        start = 0
        for group in range(sizes.num_row_groups):
            n = sizes.row_group(group).num_rows
            writer.write_table(rows.slice(start, n), row_group_size=n)
            start += n


def test_ground_truth_detections_give_the_ground_truth(data: Path) -> None:
    printed = done("pelvis", data, "--detections", "gt")
    for split, subject, instants in (("train", "S1", 60), ("val", "S9", 160)):
        rows = read_pelvis(data, split)
        assert rows.schema.equals(SCHEMA)
        assert (rows["n_views"].to_numpy() == 4).all()
        assert set(rows["source"].to_pylist()) == {"gt dlt"}
        assert mean_error(data, split) < 0.01
        assert f"| {subject} | {instants} | 0.00 | 0.00 | 0.00 |" in printed
        labels = read_labels(data, split, ["joints_3d_world"])
        first_views = labels.filter(pc.equal(labels["camera"].cast("string"), "54138969"))
        np.testing.assert_array_equal(instant_keys(rows), instant_keys(first_views))
        truth = pose_array(first_views, "joints_3d_world")[:, 0]
        np.testing.assert_allclose(pelvis_array(rows), truth, rtol=0, atol=0.02)


def test_the_file_says_what_it_holds(data: Path) -> None:
    done("pelvis", data, "--detections", "sh", "--method", "ransac", "--seed", 3)
    metadata = pq.read_metadata(data / "pelvis" / "val.parquet").metadata
    facts = json.loads(metadata[b"h36m"])
    assert (facts["table"], facts["joint"]) == ("pelvis", "Hip")
    assert facts["source"] == {
        "kind": "detections",
        "name": "sh ransac",
        "file": "sh.parquet",
        "sha256": digests(data / "detections")["sh.parquet"],
        "joints": "sh-16",
        "settings": {"method": "ransac", "confidences": False, "draws": 10, "threshold_px": 30.0, "refined": False},
    }
    assert json.loads(metadata[b"columns"]) == {
        "pelvis": {"joints": ["Hip"], "unit": "mm", "coordinate_frame": "world"}
    }


@pytest.mark.parametrize(
    ("name", "method"),
    [("cpn", "dlt"), ("cpn", "ransac"), ("sh", "dlt"), ("sh", "ransac"), ("sh", "ransac --refine")],
)
def test_detections_are_centimetres_off(data: Path, name: str, method: str) -> None:
    done("pelvis", data, "--detections", name, "--method", *method.split())
    assert 5 < mean_error(data) < 40


def test_the_same_seed_gives_the_same_file_and_another_one_other_draws(data: Path) -> None:
    rng = np.random.default_rng(0)
    detected = [
        DetectedSequence(item.sequence, item.joints_2d + rng.normal(0, 40, item.joints_2d.shape).astype(np.float32))
        for item in read_sequence_detections(data, "gt")
    ]
    bundle(data, "noisy", detected)
    found = []
    for seed in (1, 1, 2):
        done("pelvis", data, "--detections", "noisy", "--method", "ransac", "--seed", seed)
        found.append(digests(data / "pelvis"))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_wrong_view_moves_dlt_but_not_ransac_and_not_where_its_confidence_is_0(data: Path) -> None:
    detected = [
        DetectedSequence(item.sequence, item.joints_2d + (item.sequence.camera == "58860488") * np.float32([0, 400]))
        for item in read_sequence_detections(data, "gt")
    ]
    path = bundle(data, "bad", detected)
    errors = {}
    for method in ("dlt", "ransac"):
        done("pelvis", data, "--detections", "bad", "--method", method)
        errors[method] = mean_error(data)
    assert errors["dlt"] > 50
    assert errors["ransac"] < 0.01
    trusted = pq.read_table(path)["camera"].cast("string").to_numpy() != "58860488"
    for confidence, method, largest in ((0, "dlt", 0.01), (0, "ransac", 0.01), (0.05, "dlt", 15)):
        bundle(data, "bad", detected)
        with_confidences(path, np.where(trusted, 1, confidence)[:, None].repeat(17, axis=1))
        done("pelvis", data, "--detections", "bad", "--method", method)
        assert mean_error(data) < largest
        if not confidence:
            assert set(read_pelvis(data, "val")["n_views"].to_pylist()) == {3}


def test_negative_confidences_are_refused(data: Path) -> None:
    path = bundle(data, "odd", list(read_sequence_detections(data, "gt")))
    with_confidences(path, np.full((len(pq.read_table(path)), 17), -1.0))
    assert "no number from 0 upwards" in refused("pelvis", data, "--detections", "odd")
    assert not (data / "pelvis").exists() or not digests(data / "pelvis")


def test_two_views_are_enough_and_instants_of_one_are_counted(data: Path) -> None:
    kept = {"54138969": None, "60457274": 100}  # frames
    detected = [
        DetectedSequence(item.sequence, item.joints_2d[: kept[item.sequence.camera]])
        for item in read_sequence_detections(data, "gt")
        if item.sequence.camera in kept and item.sequence.subject == "S9"
    ]
    lengths = {item.sequence.subaction: len(item.joints_2d) for item in detected if item.sequence.camera == "54138969"}
    alone = next(iter(read_sequence_detections(data, "gt")))
    bundle(data, "two", [alone, *detected])
    printed = done("pelvis", data, "--detections", "two")
    assert f"S1/{alone.sequence.recording.stem}: {len(alone.joints_2d)} instants without an estimate" in printed
    rows = read_pelvis(data, "val")
    assert len(rows) == sum(min(n, 100) for n in lengths.values())
    assert set(rows["n_views"].to_pylist()) == {2}
    assert mean_error(data) < 0.01
    for subaction, n in lengths.items():
        if n > 100:
            name = next(item.sequence for item in detected if item.sequence.subaction == subaction).recording.stem
            assert f"S9/{name}: {n - 100} instants without an estimate" in printed
    assert not (data / "pelvis" / "train.parquet").exists()


def test_one_view_alone_gives_nothing_and_says_so(data: Path) -> None:
    bundle(data, "one", [item for item in read_sequence_detections(data, "gt") if item.sequence.camera == "54138969"])
    assert "no pelvis estimate came of it" in refused("pelvis", data, "--detections", "one")


def test_an_infinite_detection_is_no_view(data: Path) -> None:
    detected = list(read_sequence_detections(data, "gt"))
    broken = detected[0].joints_2d.copy()
    broken[0] = np.nan
    bundle(data, "nan", [DetectedSequence(detected[0].sequence, broken), *detected[1:]])
    done("pelvis", data, "--detections", "nan")
    views = read_pelvis(data, "train")["n_views"].to_numpy()
    assert views[0] == 3
    assert (views[1:] == 4).all()
    assert mean_error(data, "train") < 0.01


def predictions(data: Path, root: str, offsets: dict[str, float]) -> Path:
    """The labels' camera poses as a predictions file, moved along x by an offset a camera, mm."""
    labels = read_labels(data, "val", ["joints_3d_camera"])
    poses = pose_array(labels, "joints_3d_camera").copy()
    cameras = labels["camera"].cast("string").to_pylist()
    poses[..., 0] += np.array([offsets.get(camera, 0) for camera in cameras], np.float32)[:, None]
    if root == "relative":
        poses -= poses[:, :1]
    schema = table_schema((PoseField("joints_3d", H36M_17, 3, "mm", "camera"),))
    column = pose_column(poses, schema.field("joints_3d").type)
    rows = pa.table([*labels.select(labels.schema.names[:5]).columns, column], schema=schema)
    run = data / "run"
    run.mkdir(exist_ok=True)
    rows = rows.replace_schema_metadata({"h36m": json.dumps({"model": "seer", "root": root})})
    pq.write_table(rows.take(np.random.default_rng(0).permutation(len(rows))), run / "predictions.parquet")
    return run


def test_absolute_predictions_are_averaged_over_the_views(data: Path) -> None:
    run = predictions(data, "absolute", {})
    done("pelvis", data, "--predictions", run)
    assert mean_error(data) < 0.01
    rows = read_pelvis(data, "val")
    assert np.all(np.diff(instant_keys(rows)) > 0)
    assert set(rows["n_views"].to_pylist()) == {4}
    assert set(rows["source"].to_pylist()) == {"seer"}
    predictions(data, "absolute", {"54138969": 40.0})
    done("pelvis", data, "--predictions", run / "predictions.parquet")
    assert mean_error(data) == pytest.approx(10, abs=0.01)


def test_relative_predictions_are_refused_and_told_what_to_do(data: Path) -> None:
    message = refused("pelvis", data, "--predictions", predictions(data, "relative", {}))
    assert "relative to their root joint" in message
    assert "--detections NAME" in message


def test_predictions_that_only_call_themselves_absolute_are_refused(data: Path) -> None:
    run = predictions(data, "relative", {})
    rows = pq.read_table(run / "predictions.parquet")
    rows = rows.replace_schema_metadata({"h36m": json.dumps({"root": "absolute"})})
    pq.write_table(rows, run / "predictions.parquet")
    assert "at no place in front of their camera" in refused("pelvis", data, "--predictions", run)
    pq.write_table(rows.replace_schema_metadata(None), run / "predictions.parquet")
    assert "do not say whether they are absolute" in refused("pelvis", data, "--predictions", run)


def official_case(name: str, folder: Path) -> tuple[dict[str, np.ndarray], Path, Path]:
    """A stored evaluation of an official data set class: its arrays, its results pickle, its label table."""
    golden = dict(np.load(OFFICIAL / f"{name}.npz"))
    rows = np.zeros(len(golden["frame_idx"]), ROW_DTYPE)
    for field in ("subject_idx", "action_idx", "frame_idx", "bbox_by_camera_tlbr"):
        rows[field] = golden[field]
    labels, results = folder / "labels.npy", folder / "val.pkl"
    names = {"subject_names": list(SUBJECTS), "action_names": list(ACTION_NAMES)}
    cameras = {"camera_names": list(CAMERA_IDS), "cameras": camera_array()}
    write_object_npy(labels, {**names, **cameras, "table": rows})
    results.write_bytes(pickle.dumps({"keypoints_3d": golden["keypoints_3d"], "indexes": golden["indexes"]}))
    return golden, results, labels


@pytest.mark.parametrize("name", ["lt_results", "lt_results_nodamaged", "cp_results"])
def test_a_results_pickle_means_what_the_official_readers_take_from_it(name: str, tmp_path: Path) -> None:
    golden, results, labels = official_case(name, tmp_path)
    source, estimates = pelvis_of_results(results, labels)
    assert source.kind == "results"
    keys = read_label_table(labels).keys[golden["kept_rows"]]
    ours = {}
    for item in estimates:
        rows = np.full(len(item.frames), item.recording.view("54138969"))
        for sequence, frame, point in zip(rows, item.frames, item.pelvis, strict=True):
            ours[sequence.subject, sequence.action, sequence.subaction, int(frame)] = point
    assert len(ours) == len(np.unique(keys))
    for row, pelvis in zip(golden["kept_rows"], golden["read_pelvis"], strict=True):
        action, _, subaction = ACTION_NAMES[golden["action_idx"][row]].rpartition("-")
        instant = SUBJECTS[golden["subject_idx"][row]], action, int(subaction), int(golden["frame_idx"][row])
        np.testing.assert_array_equal(ours[instant], pelvis)


def results_of(table: Path, split: str, folder: Path, **changed: object) -> Path:
    """A results pickle with the label table's own poses, in a shuffled order."""
    labels = np.load(table, allow_pickle=True).item()["table"]
    training = np.isin(labels["subject_idx"], [SUBJECTS.index(subject) for subject in TRAIN_SUBJECTS])
    poses = labels["keypoints"][training if split == "train" else ~training]
    indexes = np.random.default_rng(0).permutation(len(poses))
    path = folder / f"{split}.pkl"
    path.write_bytes(pickle.dumps({"keypoints_3d": poses[indexes], "indexes": indexes, **changed}))
    return path


@pytest.mark.parametrize("split", ["train", "val"])
def test_official_results_become_a_table_and_are_held_against_the_labels(
    data: Path, table: Path, tmp_path: Path, split: str
) -> None:
    printed = done("pelvis", data, "--results", results_of(table, split, tmp_path), "--labels", table)
    assert mean_error(data, split) < 1e-3
    assert [path.stem for path in (data / "pelvis").iterdir()] == [split]
    assert f"{ {'train': 39, 'val': 4}[split] } of { {'train': 60, 'val': 160}[split] } labelled instants" in printed


def test_a_results_pickle_runs_nothing(data: Path, table: Path, tmp_path: Path) -> None:
    results, made = tmp_path / "val.pkl", tmp_path / "made"
    results.write_bytes(pickle.dumps({"keypoints_3d": WritesAFile(made), "indexes": np.arange(4)}))
    assert "refused to unpickle" in refused("pelvis", data, "--results", results, "--labels", table)
    assert not made.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"indexes": np.array([0, 1, 0, 1], np.float32)}, "counts anew on each"),
        ({"indexes": np.arange(3)}, "indexes are not 0 to 3"),
        ({"keypoints_3d": np.zeros((4, 5, 3))}, r"expected floats \(rows, 17, 3\)"),
        ({"keypoints_3d": np.full((4, 17, 3), np.nan)}, "no finite number"),
        ({"keypoints_3d": np.zeros((7, 17, 3)), "indexes": np.arange(7)}, "val 4, so it was made from another table"),
        ({"keypoints_3d": None}, "expected a dict with the arrays"),
    ],
)
def test_a_results_pickle_that_does_not_fit_is_refused(
    table: Path, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(H36MError, match=message):
        pelvis_of_results(results_of(table, "val", tmp_path, **changed), table)


def test_whole_numbers_stored_as_floats_are_indexes(table: Path, tmp_path: Path) -> None:
    results = results_of(table, "val", tmp_path)
    stored = pickle.loads(results.read_bytes())
    results.write_bytes(pickle.dumps({**stored, "indexes": stored["indexes"].astype(np.float32)}))
    assert sum(len(item.frames) for item in pelvis_of_results(results, table)[1]) == 4


def test_splits_of_the_same_length_have_to_be_named(tmp_path: Path) -> None:
    rows = np.zeros(2, ROW_DTYPE)
    rows["subject_idx"] = [SUBJECTS.index("S1"), SUBJECTS.index("S11")]
    rows["action_idx"] = ACTION_NAMES.index("Walking-1")
    labels, results = tmp_path / "labels.npy", tmp_path / "results.pkl"
    names = {"subject_names": list(SUBJECTS), "action_names": list(ACTION_NAMES)}
    cameras = {"camera_names": list(CAMERA_IDS), "cameras": camera_array()}
    write_object_npy(labels, {**names, **cameras, "table": rows})
    results.write_bytes(pickle.dumps({"keypoints_3d": np.zeros((1, 17, 3)), "indexes": np.zeros(1, int)}))
    with pytest.raises(H36MError, match="train 1, val 1; name its split"):
        pelvis_of_results(results, labels)
    (item,) = pelvis_of_results(results, labels, "val")[1]
    assert item.recording.subject == "S11"


def test_a_file_that_is_no_label_table_is_refused(data: Path, table: Path, tmp_path: Path) -> None:
    results = results_of(table, "val", tmp_path)
    other = tmp_path / "other.npy"
    np.save(other, np.zeros(3))
    assert "no multi-view label table" in refused("pelvis", data, "--results", results, "--labels", other)
    message = refused("pelvis", data, "--results", results)
    assert "labels RAW --out DATA --format multiview" in message


def read_as_contextpose(path: Path, labels: Path) -> np.ndarray:
    """What the official class keeps: sorted by index, then taken at table position minus the training rows."""
    table = np.load(labels, allow_pickle=True).item()["table"]
    training = np.isin(table["subject_idx"], [SUBJECTS.index(subject) for subject in TRAIN_SUBJECTS])
    with path.open("rb") as file:
        results = pickle.load(file)
    poses = results["keypoints_3d"][np.argsort(results["indexes"])]
    rows = np.flatnonzero(training if path.stem == "train" else ~training)
    return poses[rows - training.sum()]


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_pickle_is_what_contextpose_reads(data: Path, table: Path, split: str) -> None:
    printed = done("pelvis", data, "--detections", "gt", "--format", "pkl", "--labels", table)
    path = data / "pelvis" / f"{split}.pkl"
    assert f"rows in {path}, 0 without an estimate" in printed
    rows = np.load(table, allow_pickle=True).item()["table"]
    training = np.isin(rows["subject_idx"], [SUBJECTS.index(subject) for subject in TRAIN_SUBJECTS])
    truth = rows["keypoints"][training if split == "train" else ~training]
    poses = read_as_contextpose(path, table)
    assert (poses.dtype, poses.shape) == (np.float32, truth.shape)
    np.testing.assert_allclose(poses[:, ROOT], truth[:, ROOT], rtol=0, atol=0.02)
    assert np.isnan(np.delete(poses, ROOT, axis=1)).all()
    stored = pickle.loads(path.read_bytes())
    assert list(stored) == ["keypoints_3d", "indexes"]
    assert stored["indexes"].dtype == np.int64
    source, estimates = pelvis_of_results(path, table)
    assert source.joints == "multiview-17"
    assert sum(len(item.frames) for item in estimates) == len(truth)


def test_a_source_that_fails_half_way_changes_nothing(data: Path, table: Path) -> None:
    done("pelvis", data, "--detections", "gt", "--format", "pkl", "--labels", table)
    before = digests(data / "pelvis")
    detected = list(read_sequence_detections(data, "gt"))
    bundle(data, "mixed", [*detected[4:8], *detected[:4]])
    assert "does not stand in the data set's order" in refused("pelvis", data, "--detections", "mixed")
    assert digests(data / "pelvis") == before


def test_new_estimates_leave_no_pickle_of_the_former_ones(data: Path, table: Path) -> None:
    done("pelvis", data, "--detections", "gt", "--format", "pkl", "--labels", table)
    assert len(list((data / "pelvis").glob("*.pkl"))) == 2
    done("pelvis", data, "--detections", "cpn")
    assert not list((data / "pelvis").glob("*.pkl"))


def test_rows_without_an_estimate_are_refused_in_the_pickle_unless_allowed(data: Path, table: Path) -> None:
    detected = [item for item in read_sequence_detections(data, "gt") if item.sequence.subaction == 1]
    bundle(data, "half", detected)
    command = ("pelvis", data, "--detections", "half", "--format", "pkl", "--labels", table)
    result = h36m(*command)
    assert result.exit_code == 1
    assert "lacks" in result.stderr
    assert "--allow-missing" in result.stderr
    assert not list((data / "pelvis").glob("*.pkl"))
    printed = done(*command, "--allow-missing")
    poses = read_as_contextpose(data / "pelvis" / "val.pkl", table)[:, ROOT]
    lost = int(np.isnan(poses).all(axis=-1).sum())
    assert 0 < lost < len(poses)
    assert f"{lost} without an estimate (NaN)" in printed


@pytest.mark.parametrize("words", [(), ("--detections", "gt", "--predictions", "run")])
def test_one_source_has_to_be_given(data: Path, words: tuple[str, ...]) -> None:
    result = h36m("pelvis", data, *words)
    assert result.exit_code == 2
    assert "give one of --detections, --predictions and --results" in result.stderr


def test_a_split_is_asked_for_results_alone(data: Path) -> None:
    assert h36m("pelvis", data, "--detections", "gt", "--split", "val").exit_code == 2
    assert "only the method ransac can be refined" in refused("pelvis", data, "--detections", "gt", "--refine")


def test_what_is_not_there_is_named(data: Path) -> None:
    assert "no such detections" in refused("pelvis", data, "--detections", "other")
    assert "no such file" in refused("pelvis", data, "--predictions", data / "run.parquet")
    with pytest.raises(H36MError, match="make them with `h36m pelvis"):
        read_pelvis(data, "val")
    with pytest.raises(H36MError, match="no split test"):
        read_pelvis(data, "test")


def test_without_labels_there_is_no_error_to_tell(data: Path) -> None:
    shutil.rmtree(data / "labels")
    printed = done("pelvis", data, "--detections", "gt")
    assert "no ground truth" in printed
    assert "error of" not in printed
