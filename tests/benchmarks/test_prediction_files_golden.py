"""Official results pickles, scored by the command: the numbers that the official evaluators printed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from judged_tables import GOLDENS, labels_of
from synthetic_data import done
from test_official_evaluations import OFFICIAL_ACTIONS, synthetic_truth, view_of

from h36m_toolbox.benchmarks.predictions import read_predictions
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.formats.multiview import ACTION_NAMES, ROW_DTYPE, camera_array
from h36m_toolbox.labels import labels_path
from h36m_toolbox.pose_parquet import open_writer
from h36m_toolbox.pose_tables import pose_array, sequence_codes, sequence_of_code
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBJECTS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_17, MULTIVIEW_17
from h36m_toolbox.storage.pickle_stream import write_object_npy

GOLDEN = Path(__file__).parents[1] / "data" / "predictions" / "results_evaluations.npz"
SUBJECT_ROWS = ("Average", *SUBJECTS)  # of the official tables; columns are the average, then the actions


def label_rows(golden: np.lib.npyio.NpzFile, case: str) -> np.ndarray:
    columns = {name: golden[f"{case}|table|{name}"] for name in ("subject_idx", "action_idx", "frame_idx", "keypoints")}
    rows = np.zeros(len(columns["frame_idx"]), ROW_DTYPE)
    for name, values in columns.items():
        rows[name] = values
    boxes = f"{case}|table|bbox_by_camera_tlbr"
    rows["bbox_by_camera_tlbr"] = golden[boxes] if boxes in golden.files else (1, 1, 2, 2)
    return rows


def prepared(data: Path, rows: np.ndarray) -> Path:
    """DATA with the multi-view labels of these rows and, of S9 and S11, the label table of the views with a box."""
    names = {"subject_names": list(SUBJECTS), "camera_names": list(CAMERA_IDS), "action_names": list(ACTION_NAMES)}
    write_object_npy(
        data / "labels/multiview/human36m-multiview-labels-GTbboxes.npy",
        {**names, "cameras": camera_array(), "table": rows},
    )
    poses: dict[Sequence, list[np.ndarray]] = {}
    frames: dict[Sequence, list[int]] = {}
    for row in rows:
        subject = SUBJECTS[row["subject_idx"]]
        action, _, subaction = ACTION_NAMES[row["action_idx"]].partition("-")
        for view in Recording(subject, action, int(subaction)).views:
            if subject in ("S9", "S11") and row["bbox_by_camera_tlbr"][view.camera_index].any():
                camera = h36m_camera(subject, view.camera)
                pose = camera.world_to_camera(row["keypoints"].astype(np.float64))
                poses.setdefault(view, []).append(MULTIVIEW_17.select(pose, H36M_17.joints))
                frames.setdefault(view, []).append(int(row["frame_idx"]))
    write_label_table(
        data, labels_of({view: np.stack(p) for view, p in poses.items()}, {v: np.array(f) for v, f in frames.items()})
    )
    return data


def write_label_table(data: Path, table: pa.Table) -> None:
    path = labels_path(data, "val")
    path.parent.mkdir(parents=True)
    with open_writer(path, table.schema) as writer:
        writer.write_table(table)


def scored(tmp_path: Path, golden: np.lib.npyio.NpzFile, case: str, protocol: str) -> dict:
    """The report of a case's predictions, shuffled as a data loader's processes leave them."""
    data = prepared(tmp_path / "data", label_rows(golden, case))
    predicted = golden[f"{case}|predictions"]
    order = np.random.default_rng(0).permutation(len(predicted))
    (tmp_path / "results.pkl").write_bytes(pickle.dumps({"keypoints_3d": predicted[order], "indexes": order}))
    done("eval", tmp_path / "results.pkl", "--data", data, "--protocol", protocol, "--out", tmp_path / "out")
    return json.loads((tmp_path / "out" / "report.json").read_text())


def assert_official(report: dict, official: np.ndarray) -> None:
    """Every figure is that of the official table; its tolerance is the golden's own, for float32 sums."""
    near = {"rel": 1e-6, "abs": 1e-3}
    assert report["headline"]["mpjpe"] == pytest.approx(float(official[0, 0]), **near)
    per_action = {row["name"]: row["mpjpe"] for row in report["per_action"]}
    assert [per_action[action] for action in ACTIONS] == pytest.approx(official[0, 1:].tolist(), **near)
    for row in report["per_subject"]:
        assert row["mpjpe"] == pytest.approx(float(official[SUBJECT_ROWS.index(row["name"]), 0]), **near)


# case, protocol, official table, whether all frames of the protocol are there
OFFICIAL = {
    "learnable triangulation, relative": (
        *("lt_evaluate", "learnable-triangulation-relative", "per_pose_error_relative", True),
    ),
    "learnable triangulation, relative, without the damaged recordings": (
        *("lt_evaluate_nodamaged", "learnable-triangulation-relative", "per_pose_error_relative", False),
    ),
    "learnable triangulation, absolute, without the damaged recordings": (
        *("lt_evaluate_nodamaged", "learnable-triangulation-absolute", "per_pose_error", True),
    ),
    "contextpose": ("cp_evaluate", "contextpose", "per_pose_error_relative", True),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_results_pickle_has_the_official_figures(tmp_path: Path, name: str) -> None:
    case, protocol, table, complete = OFFICIAL[name]
    golden = np.load(GOLDEN)
    report = scored(tmp_path, golden, case, protocol)
    assert report["incomplete"] is not complete
    assert report["frames_scored"] == len(golden[f"{case}|predictions"])
    assert_official(report, golden[f"{case}|{table}"])


@pytest.mark.parametrize("case", ["lt_evaluate", "lt_evaluate_nodamaged", "cp_evaluate"])
def test_the_pose_of_each_row_is_the_one_that_the_official_readers_take(tmp_path: Path, case: str) -> None:
    golden = np.load(GOLDEN)
    data = prepared(tmp_path / "data", label_rows(golden, case))
    results = {name: golden[f"{case}|results.{name}"] for name in ("keypoints_3d", "indexes")}
    (tmp_path / "results.pkl").write_bytes(pickle.dumps(results))
    words = ("--data", data, "--protocol", "martinez-all-frames", "--out", tmp_path / "out")
    done("eval", tmp_path / "results.pkl", *words)

    written = read_predictions(tmp_path / "out" / "predictions.parquet")
    poses, codes = pose_array(written.table, "joints_3d").astype(np.float64), sequence_codes(written.table)
    views = [sequence_of_code(int(code)) for code in codes]
    world = [
        h36m_camera(view.subject, view.camera).camera_to_world(pose) for view, pose in zip(views, poses, strict=True)
    ]
    views_of_sample = 4 if case.startswith("lt") else 1  # the official array has a row a sample
    official = np.repeat(golden[f"{case}|pelvis_source"], views_of_sample, axis=0)
    np.testing.assert_allclose(np.stack(world), official, rtol=0, atol=1e-3)  # float32 mm at 5 m


def test_videopose3ds_predictions_as_positions_have_its_printed_figures(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "videopose3d_protocol.npz")
    positions: dict[str, dict[str, list]] = {}
    for name in golden.files:
        kind, *words = name.split("|")
        if kind == "pred":
            view = view_of(words[0], words[1], int(words[2]))
            views = positions.setdefault(view.subject, {}).setdefault(view.recording.canonical_name, [None] * 4)
            views[view.camera_index] = golden[name]
    np.savez(tmp_path / "predictions.npz", positions_3d=positions)
    write_label_table(tmp_path / "data", labels_of(synthetic_truth()))

    words = ("--data", tmp_path / "data", "--joints", "h36m-17", "--out", tmp_path / "out")
    done("eval", tmp_path / "predictions.npz", *words, "--protocol", "videopose3d")

    report = json.loads((tmp_path / "out" / "report.json").read_text())
    figures = ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve")
    rows = {row["name"]: [row[figure] for figure in figures] for row in report["per_action"]}
    official = [rows[OFFICIAL_ACTIONS.get(action, action)] for action in golden["actions"]]
    np.testing.assert_allclose(official, golden["plain"], rtol=0, atol=0.002)  # the program works in float32
    printed = [f"{report['headline'][figure]:.{digits}f}" for figure, digits in zip(figures, (1, 1, 1, 2), strict=True)]
    assert printed == ["45.5", "42.0", "44.7", "64.08"]
