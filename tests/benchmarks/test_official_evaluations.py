"""Whole evaluations against the numbers that the official programs printed on the same input."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from judged_tables import GOLDENS, labels_of, predictions_of
from torch import nn

from h36m_toolbox.benchmarks.evaluator import evaluate
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.models.lifting import lifting_inputs, predict
from h36m_toolbox.models.martinez import MARTINEZ_SEMGCN, MARTINEZ_TF, Martinez
from h36m_toolbox.models.semgcn import SemGCN, SemGCNConfig
from h36m_toolbox.pose_tables import row_keys
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16

OFFICIAL_ACTIONS = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog", "WalkTogether": "WalkingTogether"}


def synthetic_takes() -> dict[tuple[str, str], int]:
    """(subject, official take name) -> sub-action, in file order, as some takes have names that no real one has."""
    takes: dict[tuple[str, str], int] = {}
    seen: dict[tuple[str, str], int] = {}
    for name in np.load(GOLDENS / "synthetic_test_set.npz").files:
        kind, subject, take, *_ = name.split("|")
        if kind == "world_m":
            action = subject, take.split(" ")[0]
            takes[subject, take] = seen[action] = seen.get(action, 0) + 1
    return takes


def view_of(subject: str, take: str, camera: int) -> Sequence:
    action = take.split(" ")[0]
    subaction = synthetic_takes()[subject, take]
    return Sequence(subject, OFFICIAL_ACTIONS.get(action, action), subaction, CAMERA_IDS[camera])


def synthetic_truth() -> dict[Sequence, np.ndarray]:
    """Camera-frame poses (frames, 17, 3), mm, of the lifting goldens' synthetic test set."""
    data = np.load(GOLDENS / "synthetic_test_set.npz")
    return {
        view_of(subject, take, camera): h36m_camera(subject, camera_id).world_to_camera(
            data[f"world_m|{subject}|{take}"].astype(float) * 1000
        )
        for subject, take in synthetic_takes()
        for camera, camera_id in enumerate(CAMERA_IDS)
    }


def per_action(report: Report, actions: list[str], *figures: str) -> np.ndarray:
    rows = {row.name: row.figures for row in report.per_action}
    return np.array([[getattr(rows[OFFICIAL_ACTIONS.get(a, a)], figure) for figure in figures] for a in actions])


@pytest.mark.parametrize(
    ("case", "subjects"), [("plain", ("S9", "S11")), ("plain_S9", ("S9",)), ("plain_S11", ("S11",))]
)
def test_videopose3ds_protocol_gives_its_four_figures_per_action(tmp_path: Path, case: str, subjects) -> None:
    golden = np.load(GOLDENS / "videopose3d_protocol.npz")
    predicted = {
        view_of(subject, take, int(camera)): golden[name] * 1000
        for name in golden.files
        if name.startswith("pred|")
        for _, subject, take, camera in [name.split("|")]
    }
    protocol = PROTOCOLS["videopose3d"]
    protocol = protocol if subjects == protocol.subjects else protocol.for_subjects(*subjects)
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(synthetic_truth()), protocol)
    figures = ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve")
    scored = per_action(report, list(golden["actions"]), *figures)
    np.testing.assert_allclose(scored, golden[case], rtol=0, atol=0.002)
    averages = [getattr(report.headline, figure) for figure in figures]
    np.testing.assert_allclose(averages, golden[case].mean(axis=0), rtol=0, atol=0.002)
    if case == "plain":
        assert report.frames_scored == report.frames_expected == 364
        printed = [f"{average:.{digits}f}" for average, digits in zip(averages, (1, 1, 1, 2), strict=True)]
        assert printed == ["45.5", "42.0", "44.7", "64.08"]


def unnormalised(normalised: np.ndarray, golden: np.lib.npyio.NpzFile) -> np.ndarray:
    """Outputs (poses, 48) in standard deviations as poses (poses, 17, 3), mm, the hip at 0."""
    full = np.zeros((len(normalised), 96))
    full[:, golden["used"]] = normalised * golden["std"][golden["used"]] + golden["mean"][golden["used"]]
    return full.reshape(-1, 32, 3)[:, [0, *np.unique(golden["used"] // 3)]]


def test_the_pytorch_port_of_3d_pose_baseline_gives_its_two_figures_over_all_frames(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "weigq_eval.npz")
    view = Sequence("S9", "Eating", 1, CAMERA_IDS[0])
    predictions = predictions_of(tmp_path, {view: unnormalised(golden["predicted"], golden)})
    labels = labels_of({view: unnormalised(golden["target"], golden)})
    report = evaluate(predictions, labels, PROTOCOLS["martinez-all-frames"])
    assert report.frames_scored == 150
    assert report.headline.mpjpe == pytest.approx(float(golden["err_p1"]), abs=0.01)
    assert report.headline.p_mpjpe == pytest.approx(float(golden["err_p2"]), abs=0.01)


def test_3d_pose_baseline_gives_its_figures_and_joint_errors_over_whole_batches(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "martinez_tf_eval.npz")
    network = filled_by_name(Martinez(MARTINEZ_TF)).eval()
    with torch.inference_mode():
        outputs = network(torch.from_numpy(golden["x"].astype(np.float32))).numpy()
    view = Sequence("S9", "Eating", 1, CAMERA_IDS[0])
    predictions = predictions_of(tmp_path, {view: unnormalised(outputs, golden)})
    report = evaluate(predictions, labels_of({view: unnormalised(golden["target"], golden)}), PROTOCOLS["martinez"])
    assert report.frames_scored == int(golden["num_poses_used"]) == 128
    assert report.headline.mpjpe == pytest.approx(float(golden["err_p1"]), abs=0.01)
    assert report.headline.p_mpjpe == pytest.approx(float(golden["err_p2"]), abs=0.01)
    np.testing.assert_allclose([row.mpjpe for row in report.per_joint], golden["joint_err_p1"], rtol=0, atol=0.01)
    np.testing.assert_allclose([row.p_mpjpe for row in report.per_joint], golden["joint_err_p2"], rtol=0, atol=0.01)


def filled_by_name(network: nn.Module) -> nn.Module:
    """The network with the weights of the goldens, which depend on the name and shape of an entry only."""
    state = network.state_dict()
    for name, entry in state.items():
        random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
        shape = tuple(entry.shape)
        if name.endswith("num_batches_tracked"):
            values = np.zeros(shape)
        elif name.endswith("running_var"):
            values = 0.5 + random.rand(*shape)
        elif name.endswith("running_mean"):
            values = 0.1 * random.randn(*shape)
        elif len(shape) <= 1:
            values = 0.1 * random.randn(*shape) + name.endswith("weight")
        else:
            values = random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
        state[name] = torch.from_numpy(np.asarray(values)).to(entry.dtype)
    network.load_state_dict(state)
    return network


NETWORKS = {
    "semgcn": (lambda: SemGCN(SemGCNConfig()), 0.01),
    "semgcn_non_local": (lambda: SemGCN(SemGCNConfig(non_local=True)), 0.05),
    "linear": (lambda: Martinez(MARTINEZ_SEMGCN), 0.01),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_semgcns_program_gives_both_figures_per_action_official_and_centred(tmp_path: Path, name: str) -> None:
    build, tolerance = NETWORKS[name]
    golden = np.load(GOLDENS / "lifting_evaluations.npz")
    data = np.load(GOLDENS / "synthetic_test_set.npz")
    pixels = {
        view_of(subject, take, camera): data[f"pixels|{subject}|{take}|{camera}"]
        for subject, take in synthetic_takes()
        for camera in range(len(CAMERA_IDS))
    }
    truth = synthetic_truth()
    labels = labels_of({view: truth[view] for view in pixels})
    network = filled_by_name(build())
    outputs = predict(network, lifting_inputs(labels, np.concatenate(list(pixels.values())))) * 1000
    ends = np.cumsum([len(values) for values in pixels.values()])[:-1]
    predictions = predictions_of(tmp_path, dict(zip(pixels, np.split(outputs, ends), strict=True)), H36M_16)
    np.testing.assert_array_equal(row_keys(predictions.table), row_keys(labels))

    for protocol, suffix in (("semgcn", ""), ("semgcn-centred", "_centred")):
        if f"{name}|p1{suffix}" not in golden:
            continue
        report = evaluate(predictions, labels, PROTOCOLS[protocol])
        official = np.stack([golden[f"{name}|p1{suffix}"], golden[f"{name}|p2{suffix}"]], axis=1)
        actions = list(golden["actions"])
        np.testing.assert_allclose(per_action(report, actions, "mpjpe", "p_mpjpe"), official, rtol=0, atol=tolerance)
        averages = [float(golden[f"{name}|p{i}{suffix}_average"]) for i in (1, 2)]
        assert [report.headline.mpjpe, report.headline.p_mpjpe] == pytest.approx(averages, abs=tolerance)
        frames = {row.name: row.frames for row in report.per_action}
        assert [frames[OFFICIAL_ACTIONS.get(action, action)] for action in actions] == list(
            golden[f"{name}|num_frames"]
        )
