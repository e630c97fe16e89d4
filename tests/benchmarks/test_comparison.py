"""`h36m compare`: what it finds, what it must not find, what it refuses."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judged_tables import PROVENANCE
from synthetic_data import ACTIONS, FRAMES, done, h36m, refused

from h36m_toolbox.benchmarks.foreign.scoring import score_as_run
from h36m_toolbox.benchmarks.predictions import prediction_schema, write_predictions
from h36m_toolbox.benchmarks.standings.bootstrap import Sums, adjusted, draws, freedom_of, interval, means, p_value
from h36m_toolbox.benchmarks.standings.comparison import Comparison, compare_runs
from h36m_toolbox.benchmarks.standings.comparison_texts import conclusion
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import data_fingerprint, read_labels
from h36m_toolbox.pose_tables import KEYS, pose_array, pose_column, sequence_codes
from h36m_toolbox.skeletons import H36M_17

PROTOCOL = f"videopose3d@{'+'.join(ACTIONS)}"
RECORDINGS = 11  # two subjects, three actions, two trials, without S11's second Directions


@pytest.fixture(scope="module")
def runs(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs whose joints but the hip are 17 mm off, the same again, 34 mm, and 17 mm with chance by recording."""
    folder = tmp_path_factory.mktemp("compared")
    labels = read_labels(synthetic_data, "val", ["joints_3d_camera"])
    truth = pose_array(labels, "joints_3d_camera")
    recording = np.unique(sequence_codes(labels) >> 4, return_inverse=True)[1]
    chance = np.random.default_rng(5).normal(0, 5, recording.max() + 1)
    chance -= chance[recording].mean()
    schema = prediction_schema(H36M_17)
    found = {}
    for name, shift in {"same": 17.0, "again": 17.0, "worse": 34.0, "noisy": 17 + chance[recording]}.items():
        poses = truth - truth[:, :1]
        poses[:, 1:, 0] += np.broadcast_to(shift, len(poses))[:, None].astype(np.float32)
        column = pose_column(poses, schema.field("joints_3d").type)
        fingerprint = data_fingerprint(synthetic_data, "val")
        made = replace(PROVENANCE, model=name, data_fingerprint=fingerprint)
        path = folder / f"{name}.parquet"
        write_predictions(path, pa.table([*(labels.column(key) for key in KEYS), column], schema=schema), made)
        found[name] = score_as_run(path, synthetic_data, PROTOCOL, folder / "runs").folder
    return found


def compared(*folders: Path, seed: int = 0, **options: float) -> Comparison:
    (found,) = compare_runs(folders, np.random.default_rng(seed), **options)
    return found


def test_a_run_does_not_differ_from_itself(runs: dict[str, Path]) -> None:
    for folder in (runs["same"], runs["again"]):
        found = compared(runs["same"], folder)
        assert found.p_mpjpe is not None
        for row in (found.mpjpe, found.p_mpjpe, *found.per_action, *found.per_joint):
            numbers = (row.difference_mm, row.low_mm, row.high_mm, row.p_value, row.adjusted_p)
            assert numbers == (0, 0, 0, 1, 1), row
        assert "have the same mean error in every recording" in conclusion(found)


def test_a_constant_shift_is_found_everywhere_but_in_the_root(runs: dict[str, Path]) -> None:
    found = compared(runs["same"], runs["worse"])
    assert found.mpjpe.difference_mm == pytest.approx(16, abs=1e-3)
    assert (found.mpjpe.first_mm, found.mpjpe.second_mm) == pytest.approx((16, 32), abs=1e-3)
    assert found.mpjpe.low_mm == pytest.approx(16, abs=1e-3)
    assert found.mpjpe.p_value < 1e-6
    assert [row.name for row in found.per_action] == list(ACTIONS)
    assert all(row.difference_mm == pytest.approx(16, abs=1e-3) and row.p_value < 1e-6 for row in found.per_action)
    root, *others = found.per_joint
    assert (root.name, root.difference_mm, root.p_value) == ("Hip", 0, 1)
    assert all(row.difference_mm == pytest.approx(17, abs=1e-3) for row in others)
    assert found.per_subject == (("S9", pytest.approx(16, abs=1e-3)), ("S11", pytest.approx(16, abs=1e-3)))
    text = conclusion(found)
    assert "is 16.00 mm higher than that of" in text
    assert "more than which recordings were taken can explain" in text


def test_chance_between_recordings_is_not_taken_for_a_difference(runs: dict[str, Path]) -> None:
    found = compared(runs["same"], runs["noisy"])
    assert found.mpjpe.low_mm < 0 < found.mpjpe.high_mm
    assert found.mpjpe.p_value > 0.05
    text = conclusion(found)
    assert "No difference can be concluded" in text
    assert f"Drawn were {RECORDINGS} recordings" in text
    assert "They are of 2 subjects only (S9 " in text
    assert "nothing here says how the two compare on other people" in text


def test_all_views_and_frames_of_a_recording_count_as_one(runs: dict[str, Path]) -> None:
    found = compared(runs["same"], runs["noisy"])
    assert (found.mpjpe.recordings, found.mpjpe.frames) == (RECORDINGS, RECORDINGS * 4 * FRAMES)
    assert [row.recordings for row in found.per_action] == [3, 4, 4]


def test_a_swap_changes_the_sign_and_a_wider_confidence_the_interval(runs: dict[str, Path]) -> None:
    one, other = compared(runs["same"], runs["noisy"]), compared(runs["noisy"], runs["same"])
    assert one.mpjpe.difference_mm == -other.mpjpe.difference_mm
    assert one.mpjpe.low_mm == pytest.approx(-other.mpjpe.high_mm)
    wider = compared(runs["same"], runs["noisy"], confidence=0.999)
    assert wider.mpjpe.low_mm < one.mpjpe.low_mm < one.mpjpe.high_mm < wider.mpjpe.high_mm
    assert compared(runs["same"], runs["noisy"], seed=1, resamples=500) != one
    assert compared(runs["same"], runs["noisy"]) == one


# The command


def test_the_command_prints_the_conclusion_and_tables_or_json(runs: dict[str, Path]) -> None:
    folders = (runs["same"], runs["worse"], runs["noisy"])
    text = done("compare", *folders, "--resamples", 500)
    assert text.count("\n# ") + text.startswith("# ") == 2  # each with the first
    for word in ("| MPJPE | 16.00 | 32.00 | +16.00 |", "| Eating |", "| LWrist |", "95 % interval", "500 draws"):
        assert word in text
    first, second = json.loads(done("compare", *folders, "--json", "--seed", 3, "--confidence", 90))
    assert (first["first"], first["second"]) == (runs["same"].name, runs["worse"].name)
    assert second["second"] == runs["noisy"].name
    assert (first["protocol"], first["confidence"], first["resamples"]) == (PROTOCOL, 0.9, 10_000)
    assert first["per_subject"] == {"S9": pytest.approx(16, abs=1e-3), "S11": pytest.approx(16, abs=1e-3)}
    assert first["conclusion"].startswith(f"The MPJPE of {runs['worse'].name} is 16.00 mm higher")


def test_one_run_is_not_enough(runs: dict[str, Path]) -> None:
    result = h36m("compare", runs["same"])
    assert result.exit_code == 2
    assert "give two runs or more" in result.stderr


def test_the_data_are_where_the_first_run_was_made(runs: dict[str, Path], synthetic_data: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(synthetic_data, tmp_path / "moved")
    assert done("compare", *runs.values()) == done("compare", *runs.values(), "--data", moved)


# Refusals


def altered(source: Path, target: Path, change: Callable[[Path], object]) -> Path:
    folder = shutil.copytree(source, target)
    change(folder)
    return folder


def test_runs_under_other_rules_or_on_other_frames_are_refused(
    runs: dict[str, Path], synthetic_data: Path, tmp_path: Path
) -> None:
    predictions = runs["same"] / "predictions.parquet"
    other = score_as_run(predictions, synthetic_data, "strict", tmp_path).folder
    message = refused("compare", runs["same"], other)
    assert f"{other}: was scored under strict, version 1, {runs['same']} under {PROTOCOL}, version 1" in message
    some = pq.read_table(predictions)
    write_predictions(tmp_path / "some.parquet", some.slice(8), PROVENANCE)
    fewer = score_as_run(tmp_path / "some.parquet", synthetic_data, PROTOCOL, tmp_path).folder
    assert f"{fewer}: covers other frames (sha256 " in refused("compare", runs["same"], fewer)


def test_folders_that_are_no_evidence_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    unfinished = altered(runs["worse"], tmp_path / "a", lambda folder: (folder / "complete.json").unlink())
    assert f"{unfinished}: unfinished: no complete.json" in refused("compare", runs["same"], unfinished)
    edited = altered(runs["worse"], tmp_path / "b", lambda folder: (folder / "report.json").write_text("{}"))
    assert f"{edited}: altered: report.json is not the file" in refused("compare", edited, runs["same"])
    train = tmp_path / "train-semgcn-gt"
    train.mkdir()
    assert "unfinished" in refused("compare", runs["same"], train)


def test_labels_that_do_not_give_the_figures_are_refused(
    runs: dict[str, Path], synthetic_data: Path, tmp_path: Path
) -> None:
    words = ("synth", tmp_path / "raw", "--subjects", "S9,S11", "--actions", ",".join(ACTIONS), "--frames", FRAMES)
    done(*words, "--no-videos", "--seed", 7, "--jobs", 1)
    done("labels", tmp_path / "raw", "--out", tmp_path / "data", "--jobs", 1)
    message = refused("compare", runs["same"], runs["worse"], "--data", tmp_path / "data")
    assert "its predictions give" in message
    assert "its report says 16.0000 mm; name the DATA that it was scored on" in message
    shutil.rmtree(tmp_path / "data")
    assert synthetic_data.is_dir()


# Chance


def sums_of(values: np.ndarray, actions: np.ndarray, frames: np.ndarray) -> Sums:
    """Recordings whose frames have these means (recordings, figures)."""
    return Sums(actions, frames.astype(float), values * frames[:, None])


def test_means_are_over_frames_within_an_action_and_then_over_actions() -> None:
    sums = sums_of(np.array([[1.0], [4.0], [10.0]]), np.array([0, 0, 1]), np.array([1, 3, 4]))
    by_action, pooled = means(sums, action_mean=True)
    assert by_action[:, 0].tolist() == [3.25, 10.0]
    assert pooled.tolist() == [6.625]
    assert means(sums, action_mean=False)[1].tolist() == [(1 + 12 + 40) / 8]


@pytest.mark.parametrize("action_mean", [True, False])
def test_the_interval_holds_the_truth_as_often_as_it_says(action_mean: bool) -> None:
    rng = np.random.default_rng(11)
    actions = np.repeat(np.arange(15), 4)
    frames = rng.integers(1000, 3000, len(actions))
    inside, alarms, trials = 0, 0, 400
    for _ in range(trials):
        # each action has a difference of its own, each recording its chance, more of it in some actions
        own = np.linspace(-3, 3, 15)
        values = own[actions] + rng.normal(0, 1 + actions / 7) + 0.5
        truth = 0.5 + (0 if action_mean else np.average(own[actions], weights=frames))
        sums = sums_of(values[:, None], actions, frames)
        _, estimate = means(sums, action_mean)
        drawn = draws(sums, action_mean, 400, rng).pooled
        low, high = interval(estimate, drawn, freedom_of(actions), 0.95)
        inside += bool(low[0] <= truth <= high[0])
        alarms += bool(p_value(estimate - truth, drawn, freedom_of(actions))[0] < 0.05)
    assert 0.92 <= inside / trials <= 0.98
    assert alarms == trials - inside  # the interval and the p-value say the same


def test_an_action_s_interval_is_honest_with_four_recordings() -> None:
    rng = np.random.default_rng(2)
    actions = np.zeros(4, int)
    inside, trials = 0, 600
    for _ in range(trials):
        sums = sums_of(rng.normal(1, 2, (4, 1)), actions, np.full(4, 2000))
        drawn = draws(sums, True, 300, rng).pooled
        low, high = interval(means(sums, True)[1], drawn, 3, 0.95)
        inside += bool(low[0] <= 1 <= high[0])
    assert 0.92 <= inside / trials <= 0.98


def test_one_recording_an_action_tells_nothing_of_chance() -> None:
    alone = sums_of(np.ones((3, 1)), np.arange(3), np.full(3, 10))
    with pytest.raises(H36MError, match="no action has two recordings"):
        draws(alone, True, 100, np.random.default_rng(0))
    some = sums_of(np.array([[1.0], [2.0], [5.0]]), np.array([0, 0, 1]), np.full(3, 10))
    found = draws(some, True, 100, np.random.default_rng(0))
    assert set(found.by_action[0, :, 0].tolist()) == {1.0, 2.0}
    assert set(found.by_action[1, :, 0].tolist()) == {5.0}


def test_many_questions_ask_for_smaller_p_values() -> None:
    # worked by hand: 0.01 * 4, then the larger of that and 0.02 * 3, 0.03 * 2, 0.5 * 1
    np.testing.assert_allclose(adjusted(np.array([0.5, 0.01, 0.03, 0.02])), [0.5, 0.04, 0.06, 0.06])
    assert adjusted(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
