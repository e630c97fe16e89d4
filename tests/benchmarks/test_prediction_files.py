"""Each kind of predictions file, made from known poses and scored by the command, against the same poses in ours."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from judged_tables import PROVENANCE
from synthetic_data import FRAMES, VIEWS, WritesAFile, done, refused

from h36m_toolbox.benchmarks.predictions import prediction_schema, read_predictions, write_predictions
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.formats.multiview import ACTION_NAMES, ROW_DTYPE, camera_array
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import KEYS, keyed_table, pose_array, row_keys, sequence_of_code
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS
from h36m_toolbox.skeletons import H36M_16, H36M_17, LSP_14, MULTIVIEW_17, SH_16, Skeleton
from h36m_toolbox.storage.pickle_stream import write_object_npy

ROWS = 2 * VIEWS * FRAMES  # S9 and S11
PROTOCOL = "strict"  # the root is subtracted from both, so absolute and relative poses score alike


@dataclass(frozen=True, eq=False)
class Known:
    """Poses of every labelled frame in the order of the labels: camera frame, absolute, mm, as H36M_17."""

    data: Path
    table: pa.Table
    keys: np.ndarray
    absolute: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        return self.absolute - self.absolute[:, :1]

    @property
    def world(self) -> np.ndarray:
        """The same poses in the world, so that the four views of an instant differ."""
        turned = np.empty_like(self.absolute)
        for code in np.unique(self.keys >> 32):
            view, rows = sequence_of_code(int(code)), self.keys >> 32 == code
            turned[rows] = h36m_camera(view.subject, view.camera).camera_to_world(self.absolute[rows])
        return turned


@pytest.fixture(scope="module")
def known(synthetic_data: Path) -> Known:
    table = read_labels(synthetic_data, "val", ["joints_3d_camera"])
    noise = np.random.default_rng(4).normal(scale=40, size=(ROWS, 17, 3))
    return Known(synthetic_data, table, row_keys(table), pose_array(table, "joints_3d_camera") + noise)


@pytest.fixture(scope="module")
def instants(known: Known) -> Known:
    """Poses of which the four views of an instant have the same world pose, as multi-view models predict."""
    of_view = known.keys >> 32 & 0xF
    world = known.world
    first = {key & ~(0xF << 32): pose for key, pose in zip(known.keys, world, strict=True) if key >> 32 & 0xF == 0}
    world = np.stack([first[key & ~(0xF << 32)] for key in known.keys.tolist()])
    assert set(of_view) == {0, 1, 2, 3}
    absolute = np.empty_like(world)
    for code in np.unique(known.keys >> 32):
        view, rows = sequence_of_code(int(code)), known.keys >> 32 == code
        absolute[rows] = h36m_camera(view.subject, view.camera).world_to_camera(world[rows])
    return replace(known, absolute=absolute)


def ours(known: Known, folder: Path, skeleton: Skeleton = H36M_17, poses: np.ndarray | None = None) -> Path:
    """The poses as a predictions file of ours."""
    poses = known.relative if poses is None else poses
    chosen = H36M_17.select(poses, skeleton.joints)
    path = folder / "ours.parquet"
    table = keyed_table(known.keys, {"joints_3d": chosen}, prediction_schema(skeleton))
    write_predictions(path, table, PROVENANCE)
    return path


def score(path: Path, known: Known, out: Path, *options: object, protocol: str = PROTOCOL) -> dict:
    done("eval", path, "--data", known.data, "--protocol", protocol, "--out", out, *options)
    return json.loads((out / "report.json").read_text())


def figures(report: dict) -> np.ndarray:
    groups = [report["headline"], report["other_mean"], *report["per_action"], *report["per_sequence"]]
    numbers = [[value for value in group.values() if isinstance(value, float)] for group in groups]
    return np.concatenate([np.array(row) for row in numbers])


def keyed_columns(known: Known) -> dict[str, pa.Array]:
    return {name: pa.array(known.table.column(name).to_pylist()) for name in KEYS}


# Files, one for each kind; each returns the options that say what the file does not


def parquet_of_lists(known: Known, path: Path) -> tuple[str, ...]:
    flat = pa.array(list(known.relative.reshape(ROWS, -1)))
    pq.write_table(pa.table({**keyed_columns(known), "pose": flat}), path)
    return "--joints", "h36m-17", "--unit", "mm"


def parquet_of_lists_of_joints(known: Known, path: Path) -> tuple[str, ...]:
    nested = pa.array((known.relative / 1000).tolist(), pa.list_(pa.list_(pa.float64(), 3)))
    field = pa.field("joints_3d", nested.type, metadata={"joints": json.dumps(H36M_17.joints), "unit": "m"})
    columns = keyed_columns(known)
    schema = pa.schema([*(pa.field(name, columns[name].type) for name in KEYS), field])
    pq.write_table(pa.table([*columns.values(), nested], schema=schema), path)
    return ()


def csv_of_named_joints(known: Known, path: Path) -> tuple[str, ...]:
    columns = keyed_columns(known)
    words = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
    columns["action"] = pa.array([words.get(word, word) for word in columns["action"].to_pylist()])
    for joint in reversed(H36M_17.joints):
        for place, axis in enumerate("xyz"):
            columns[f"{axis}_{joint}"] = pa.array(known.relative[:, H36M_17.joints.index(joint), place])
    backwards = np.arange(ROWS)[::-1]
    pa.csv.write_csv(pa.table(columns).take(backwards), path)
    return "--unit", "mm"


def csv_of_numbered_joints(known: Known, path: Path) -> tuple[str, ...]:
    columns = keyed_columns(known)
    poses = H36M_17.select(known.relative, MULTIVIEW_17.joints)
    for joint in range(17):
        columns |= {f"{axis}_{joint}": pa.array(poses[:, joint, place]) for place, axis in enumerate("xyz")}
    pa.csv.write_csv(pa.table(columns), path)
    return "--unit", "mm", "--joints", "multiview-17"


def npy_in_label_order(known: Known, path: Path) -> tuple[str, ...]:
    np.save(path, (known.relative / 1000).astype(np.float32))
    return "--frames", "all", "--joints", "h36m-17", "--unit", "m"


def npy_of_scored_frames(known: Known, path: Path) -> tuple[str, ...]:
    dropped = [sequence_of_code(int(code)).recording.canonical_name for code in known.keys >> 32]
    subjects = known.keys >> 48
    s11 = subjects == subjects.max()
    second = known.keys >> 36 & 0xF == 2
    directions = np.array([name.startswith("Directions") for name in dropped])
    np.save(path, known.absolute[~(s11 & second & directions)])
    return "--frames", "scored", "--joints", "h36m-17", "--unit", "mm"


def npz_that_says_all(known: Known, path: Path) -> tuple[str, ...]:
    poses = H36M_17.select(known.absolute, MULTIVIEW_17.joints)
    facts = {"joints": "multiview-17", "unit": "mm", "root": "absolute", "coordinates": "camera"}
    np.savez(path, predictions=poses, **{name: np.array(word) for name, word in facts.items()})
    return "--frames", "all"


def npz_by_sequence(name: Callable[[int], str]) -> Callable[[Known, Path], tuple[str, ...]]:
    def write(known: Known, path: Path) -> tuple[str, ...]:
        codes = known.keys >> 32
        np.savez(path, **{name(int(code)): known.relative[codes == code] for code in np.unique(codes)})
        return "--unit", "mm", "--joints", "h36m-17"

    return write


def stem_and_camera(code: int) -> str:
    return str(sequence_of_code(code))


def action_and_camera(code: int) -> str:
    view = sequence_of_code(code)
    return f"{view.subject}_{view.action}-{view.subaction}_{view.camera}"


def npz_of_camera_positions(known: Known, path: Path) -> tuple[str, ...]:
    positions: dict[str, dict[str, list]] = {"S1": {"Directions 1": [None] * 4}}
    for code in np.unique(known.keys >> 32):
        view = sequence_of_code(int(code))
        views = positions.setdefault(view.subject, {}).setdefault(view.recording.canonical_name, [None] * 4)
        views[view.camera_index] = (known.relative[known.keys >> 32 == code] / 1000).astype(np.float32)
    np.savez(path, positions_3d=positions, metadata={"num_joints": 17})
    return "--joints", "h36m-17"


def npy_of_a_dict(known: Known, path: Path) -> tuple[str, ...]:
    npz_of_camera_positions(known, path.with_suffix(".npz"))
    positions = np.load(path.with_suffix(".npz"), allow_pickle=True)["positions_3d"].item()
    np.save(path, positions)
    return "--joints", "h36m-17", "--unit", "m"


FILES = {
    "lists.parquet": parquet_of_lists,
    "lists of joints.parquet": parquet_of_lists_of_joints,
    "named.csv": csv_of_named_joints,
    "numbered.csv": csv_of_numbered_joints,
    "all.npy": npy_in_label_order,
    "scored.npy": npy_of_scored_frames,
    "one.npz": npz_that_says_all,
    "stems.npz": npz_by_sequence(stem_and_camera),
    "actions.npz": npz_by_sequence(action_and_camera),
    "folders.npz": npz_by_sequence(lambda code: sequence_of_code(code).folder),
    "positions.npz": npz_of_camera_positions,
    "dict.npy": npy_of_a_dict,
}


@pytest.fixture(scope="module")
def reference(known: Known, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("reference")
    return figures(score(ours(known, folder), known, folder))


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_has_the_figures_of_ours(
    known: Known, reference: np.ndarray, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    options = FILES[name](known, path)
    report = score(path, known, tmp_path / "out", *options)
    np.testing.assert_allclose(figures(report), reference, rtol=2e-6, atol=1e-4)  # files of float32 metres among them
    assert report["provenance"]["model"] == path.stem
    assert report["provenance"]["options"]["file"] == name


WORLD_LAYOUTS = ("world positions.npz", "results.pkl", "single view results.pkl", "16 joints.pkl")


def world_file(instants: Known, path: Path) -> tuple[object, ...]:
    """World poses an instant, in one of `WORLD_LAYOUTS`, and the options to read them."""
    world, codes = instants.world, instants.keys >> 32
    first_view = codes & 0xF == 0
    if path.suffix == ".npz":
        positions: dict[str, dict[str, np.ndarray]] = {}
        for code in np.unique(codes[first_view]):
            recording = sequence_of_code(int(code)).recording
            positions.setdefault(recording.subject, {})[recording.canonical_name] = world[codes == code] / 1000
        np.savez(path, positions_3d=positions)
        return ("--joints", "h36m-17")
    labels = path.with_suffix(".npy")
    write_multiview_labels(labels, instants.keys[first_view], world[first_view])
    if path.name.startswith("single"):
        by_instant = np.lexsort((codes & 0xF, instants.keys & 0xFFFFFFFF, codes >> 4))
        poses = world[by_instant]
    else:
        poses = world[first_view]
    joints = SH_16 if path.name.startswith("16") else MULTIVIEW_17
    write_results(path, H36M_17.select(poses, joints.joints))
    return ("--labels", labels)


def write_multiview_labels(path: Path, keys: np.ndarray, world: np.ndarray) -> None:
    """A label table with these instants, after some rows of a training subject."""
    rows = np.zeros(len(keys) + 2, ROW_DTYPE)
    for row, key, pose in zip(rows[2:], keys.tolist(), world, strict=True):
        view = sequence_of_code(key >> 32)
        row["subject_idx"] = SUBJECTS.index(view.subject)
        row["action_idx"] = ACTION_NAMES.index(f"{view.action}-{view.subaction}")
        row["frame_idx"] = key & 0xFFFFFFFF
        row["keypoints"] = H36M_17.select(pose, MULTIVIEW_17.joints)
    rows["bbox_by_camera_tlbr"] = (10, 10, 500, 500)
    names = {"subject_names": list(SUBJECTS), "camera_names": list(CAMERA_IDS), "action_names": list(ACTION_NAMES)}
    write_object_npy(path, {**names, "cameras": camera_array(), "table": rows})


def write_results(path: Path, poses: np.ndarray, indexes: np.ndarray | None = None) -> None:
    order = np.random.default_rng(1).permutation(len(poses)) if indexes is None else np.arange(len(poses))
    results = {"keypoints_3d": poses[order].astype(np.float32), "indexes": order if indexes is None else indexes}
    path.write_bytes(pickle.dumps(results))


@pytest.mark.parametrize("name", WORLD_LAYOUTS)
def test_world_poses_have_the_figures_of_the_same_poses_in_the_camera_frame(
    instants: Known, tmp_path: Path, name: str
) -> None:
    options = world_file(instants, tmp_path / name)
    skeleton, protocol = (H36M_16, "semgcn-centred") if name.startswith("16") else (H36M_17, PROTOCOL)
    expected = score(ours(instants, tmp_path, skeleton), instants, tmp_path / "ours", protocol=protocol)
    report = score(tmp_path / name, instants, tmp_path / "out", *options, protocol=protocol)
    np.testing.assert_allclose(figures(report), figures(expected), rtol=2e-6, atol=1e-3)  # float32 metres from world
    assert report["frames_scored"] == expected["frames_scored"]
    assert read_predictions(tmp_path / "out" / "predictions.parquet").provenance.root == "absolute"


def test_results_of_processes_that_counted_anew_are_read_in_the_order_of_the_file(
    instants: Known, tmp_path: Path
) -> None:
    options = world_file(instants, tmp_path / "results.pkl")
    whole = figures(score(tmp_path / "results.pkl", instants, tmp_path / "a", *options))
    poses = H36M_17.select(instants.world[instants.keys >> 32 & 0xF == 0], MULTIVIEW_17.joints)
    parts = [len(poses) // 3, len(poses) - len(poses) // 3]
    write_results(tmp_path / "parts.pkl", poses, np.concatenate([np.arange(n, dtype=np.float32) for n in parts]))
    np.testing.assert_array_equal(figures(score(tmp_path / "parts.pkl", instants, tmp_path / "b", *options)), whole)


def test_14_joints_are_scored_by_the_protocol_of_14_joints(known: Known, tmp_path: Path) -> None:
    for name, poses in (("relative", known.relative), ("absolute", known.absolute)):
        np.save(tmp_path / f"{name}.npy", H36M_17.select(poses, LSP_14.joints))
    words = ("--frames", "all", "--joints", "lsp-14", "--unit", "mm")
    expected = score(ours(known, tmp_path), known, tmp_path / "ours", protocol="frontal-camera")
    report = score(tmp_path / "relative.npy", known, tmp_path / "out", *words, protocol="frontal-camera")
    np.testing.assert_allclose(figures(report), figures(expected), rtol=2e-6, atol=1e-4)
    words += ("--data", known.data)
    message = refused("eval", tmp_path / "absolute.npy", "--protocol", "frontal-camera", *words)
    assert "absolute and without Hip" in message
    assert "MPJPE" in done("eval", tmp_path / "absolute.npy", "--protocol", "frontal-camera", *words, "--subtract-root")
    message = refused("eval", tmp_path / "relative.npy", "--protocol", PROTOCOL, *words)
    assert "predicted skeleton lsp-14 lacks; protocols that fit it: frontal-camera" in message
    np.save(tmp_path / "first.npy", known.absolute[:, :14])
    message = refused("eval", tmp_path / "first.npy", "--protocol", "frontal-camera", *words)
    assert "or its joints in another order" in message


def test_all_protocols_have_the_figures_that_each_has_alone(known: Known, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", known.relative)
    words = ("--frames", "all", "--joints", "h36m-17", "--unit", "mm")
    out = tmp_path / "out"
    text = done("eval", tmp_path / "p.npy", "--data", known.data, "--protocol", "all", "--out", out, *words)
    assert text.startswith("# p under every protocol")
    assert text.endswith(f"wrote {out / 'protocols.csv'}, {out / 'predictions.parquet'}\n")
    with (out / "protocols.csv").open(newline="") as file:
        rows = {row["protocol"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(PROTOCOLS)
    for protocol in (PROTOCOL, "semgcn", "contextpose", "frontal-camera"):
        alone = score(tmp_path / "p.npy", known, tmp_path / protocol, *words, protocol=protocol)
        assert float(rows[protocol]["mpjpe"]) == alone["headline"]["mpjpe"]
        assert int(rows[protocol]["frames"]) == alone["frames_scored"]
    assert "scores absolute positions" in rows["learnable-triangulation-absolute"]["reason"]
    assert "--protocol all say all or N" in refused(
        "eval", tmp_path / "p.npy", "--data", known.data, "--protocol", "all", "--frames", "scored", *words[2:]
    )


def test_all_protocols_of_the_training_subjects_are_those_whose_frames_are_defined_for_them(
    synthetic_data: Path, tmp_path: Path
) -> None:
    labels = read_labels(synthetic_data, "train", ["joints_3d_camera"])
    noise = np.random.default_rng(0).normal(scale=20, size=(len(labels), 17, 3))
    np.save(tmp_path / "p.npy", pose_array(labels, "joints_3d_camera") + noise)
    words = ("--frames", "all", "--joints", "h36m-17", "--unit", "mm", "--split", "train", "--out", tmp_path / "out")
    done("eval", tmp_path / "p.npy", "--data", synthetic_data, "--protocol", "all", *words)
    with (tmp_path / "out" / "protocols.csv").open(newline="") as file:
        reasons = {row["protocol"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons["strict@S1+S5+S6+S7+S8"] == ""
    assert "its frames are h36m-fetch's selection" in reasons["contextpose"]


def test_absolute_poses_can_be_made_relative_for_a_protocol_that_needs_it(known: Known, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", known.absolute)
    words = ("--frames", "all", "--joints", "h36m-17", "--unit", "mm")
    report = score(tmp_path / "p.npy", known, tmp_path / "out", *words, "--subtract-root", protocol="videopose3d")
    expected = score(ours(known, tmp_path), known, tmp_path / "ours", protocol="videopose3d")
    np.testing.assert_allclose(figures(report), figures(expected), rtol=2e-6, atol=1e-4)
    message = refused("eval", tmp_path / "p.npy", "--data", known.data, "--protocol", "videopose3d", *words)
    assert "the predictions are absolute" in message


def test_what_is_written_is_a_predictions_file_of_ours_and_the_same_each_time(known: Known, tmp_path: Path) -> None:
    path = tmp_path / "named.csv"
    options = csv_of_named_joints(known, path)
    first = score(path, known, tmp_path / "a", *options, "--model", "ours-v2")
    score(path, known, tmp_path / "b", *options, "--model", "ours-v2")
    written = tmp_path / "a" / "predictions.parquet"
    assert written.read_bytes() == (tmp_path / "b" / "predictions.parquet").read_bytes()
    predictions = read_predictions(written)
    assert predictions.sha256 == first["predictions_sha256"]
    assert predictions.provenance.model == "ours-v2"
    assert predictions.provenance.root == "relative"
    assert predictions.provenance.options["unit"] == "mm"
    assert predictions.provenance.weights_sha256 == "unknown"
    again = score(written, known, tmp_path / "c")
    assert again == first
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        "predictions.parquet",
        "report.json",
        "per_action.csv",
        "environment.json",
        "complete.json",
    }


def test_missing_frames_leave_the_report_incomplete(known: Known, tmp_path: Path) -> None:
    csv_of_named_joints(known, tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines(keepends=True)
    (tmp_path / "p.csv").write_text("".join(lines[:-10]))
    report = score(tmp_path / "p.csv", known, tmp_path / "out", "--unit", "mm")
    assert report["incomplete"]
    assert any("10 of" in problem and "have no prediction" in problem for problem in report["problems"])


def test_a_pickle_that_would_run_something_is_refused(known: Known, tmp_path: Path) -> None:
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"keypoints_3d": WritesAFile(tmp_path / "made")}))
    assert "refused to unpickle" in refused("eval", tmp_path / "p.pkl", "--data", known.data)
    assert not (tmp_path / "made").exists()


def test_every_nth_frame_of_each_sequence_is_an_incomplete_report_with_the_figures_of_those_frames(
    known: Known, tmp_path: Path
) -> None:
    third = (known.keys & 0xFFFFFFFF) % 3 == 0
    part = replace(known, keys=known.keys[third], absolute=known.absolute[third])
    npz_by_sequence(stem_and_camera)(part, tmp_path / "p.npz")
    np.save(tmp_path / "q.npy", part.relative)
    expected = score(ours(part, tmp_path), known, tmp_path / "ours")
    assert expected["incomplete"]
    for name in ("p.npz", "q.npy"):
        options = ("--frames", 3, "--unit", "mm", "--joints", "h36m-17")
        report = score(tmp_path / name, known, tmp_path / name[0], *options)
        np.testing.assert_allclose(figures(report), figures(expected), rtol=2e-6, atol=1e-4)
        assert report["problems"] == expected["problems"]


def test_what_ours_says_itself_is_not_said_again(known: Known, tmp_path: Path) -> None:
    path = ours(known, tmp_path)
    for words in (("--unit", "mm"), ("--frames", "all"), ("--model", "theirs"), ("--subtract-root",)):
        message = refused("eval", path, "--data", known.data, "--protocol", PROTOCOL, *words)
        assert "written by h36m, it says itself what it holds" in message
