"""`h36m bench` as a user runs it: what a run leaves behind, who may be compared with whom, and every refusal."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from synthetic_data import ACTIONS, FRAMES, VIEWS, WritesAFile, done, refused

from h36m_toolbox import __version__
from h36m_toolbox.benchmarks.predictions import Predictions, read_predictions
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.reports import FIGURES
from h36m_toolbox.benchmarks.runs import folders as run_folders
from h36m_toolbox.benchmarks.runs.bench import BenchRequest, bench
from h36m_toolbox.benchmarks.standings.leaderboard import COLUMNS, LeaderboardRow, read_leaderboard
from h36m_toolbox.detections.bundles import detections_path
from h36m_toolbox.labels import labels_path
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.sequences import CAMERA_IDS, Sequence, sequences
from h36m_toolbox.skeletons import H36M_16
from h36m_toolbox.storage.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")

FITTING = [name for name, protocol in PROTOCOLS.items() if set(protocol.joints) <= set(H36M_16.joints)]
SCORED = (2 * VIEWS - len(CAMERA_IDS)) * FRAMES  # S9 and S11 without S11's second Directions


@pytest.fixture(scope="module")
def weights(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of one epoch for both models, as `h36m train` writes it."""
    runs = tmp_path_factory.mktemp("trained")
    common = ("--data", synthetic_data, "--runs", runs, "--epochs", 1, "--device", "cpu", "--validate-on", "none")
    for model in ("semgcn", "martinez"):
        done("train", "--model", model, "--name", model, *common)
    return {model: runs / model / "checkpoint_last.pt" for model in ("semgcn", "martinez")}


@dataclass(frozen=True)
class Ran:
    """A run, its row and its predictions."""

    folder: Path
    row: LeaderboardRow
    predictions: Predictions
    said: str

    @property
    def poses(self) -> np.ndarray:
        return pose_array(self.predictions.table, "joints_3d")


def run(runs: Path, data: Path, *words: object, model: str = "semgcn") -> Ran:
    """`h36m bench` on the CPU, and what it left behind."""
    said = done("bench", "--model", model, "--data", data, "--runs", runs, "--device", "cpu", *words)
    row = read_leaderboard(runs / "leaderboard.csv")[-1]
    return Ran(runs / row.run, row, read_predictions(runs / row.run / "predictions.parquet"), said)


def visible(folder: Path) -> list[str]:
    """What a user sees in a folder; the leaderboard's lock is hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def refused_run(runs: Path, data: Path, *words: object, model: str = "semgcn") -> str:
    """The message of a run that must be refused and leave nothing."""
    message = refused("bench", "--model", model, "--data", data, "--runs", runs, "--device", "cpu", *words)
    assert not runs.exists() or not list(runs.iterdir())
    return message


# What a run leaves behind


def test_a_run_leaves_its_files_and_a_row_with_its_provenance(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    ran = run(tmp_path, synthetic_data, "--weights", weights["semgcn"], "--detections", "cpn")
    assert sorted(path.name for path in ran.folder.iterdir()) == [
        "complete.json",
        "environment.json",
        "per_action.csv",
        "predictions.parquet",
        "report.json",
    ]
    assert visible(tmp_path) == sorted([ran.folder.name, "leaderboard.csv"])
    made = ran.predictions.provenance
    for told in (made, ran.row):
        assert told.model == "semgcn"
        assert told.weights_sha256 == sha256_of(weights["semgcn"])
        assert told.detections == "cpn"
        assert told.detections_sha256 == sha256_of(detections_path(synthetic_data, "cpn"))
        assert told.data_fingerprint == sha256_of(labels_path(synthetic_data, "val"))
        assert told.parameters == model_card("semgcn").parameters
        assert told.device == "cpu"
        assert told.h36m_version == __version__
        assert told.protocol == "semgcn"
        assert told.poses_per_s > 0
    assert (made.torch_version, made.numpy_version) == (torch.__version__, np.__version__)
    assert (ran.row.split, ran.row.options, ran.row.frames, ran.row.incomplete) == ("val", "", SCORED, True)
    assert ran.row.predictions_sha256 == sha256_of(ran.folder / "predictions.parquet")
    assert len(ran.predictions.table) == SCORED
    assert f"wrote {ran.folder}, a row in {tmp_path / 'leaderboard.csv'}" in ran.said


def test_the_row_has_the_figures_that_eval_gives_the_predictions(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    ran = run(tmp_path / "runs", synthetic_data, "--weights", weights["semgcn"])
    out = tmp_path / "again"
    words = ("--data", synthetic_data, "--protocol", "semgcn", "--out", out)
    done("eval", ran.folder / "predictions.parquet", *words)
    report = json.loads((out / "report.json").read_text())
    for name in FIGURES:
        assert getattr(ran.row, name if name in COLUMNS else f"{name}_mm") == report["headline"][name], name
    assert ran.row.manifest_sha256 == report["frames_sha256"]
    assert report["frames_scored"] == ran.row.frames
    for name in ("report.json", "per_action.csv"):
        assert (out / name).read_bytes() == (ran.folder / name).read_bytes()
    with (out / "per_action.csv").open(newline="") as file:
        actions = list(csv.DictReader(file))
    assert [row["action"] for row in actions] == list(ACTIONS)
    assert np.mean([float(row["mpjpe"]) for row in actions]) == pytest.approx(ran.row.mpjpe_mm, abs=1e-9)


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
@pytest.mark.parametrize("detections", ["gt", "cpn", "sh"])
def test_both_models_run_on_every_kind_of_detections(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, model: str, detections: str
) -> None:
    words = ("--weights", weights[model], "--detections", detections)
    ran = run(tmp_path, synthetic_data, *words, model=model)
    assert (ran.row.model, ran.row.detections, ran.row.frames) == (model, detections, SCORED)
    assert ran.row.parameters == model_card(model).parameters
    assert 0 < ran.row.p_mpjpe_mm < ran.row.mpjpe_mm < 2000
    assert ran.folder.name.startswith(f"{model}-{detections}-semgcn-")


def test_the_batch_size_moves_no_figure(synthetic_data: Path, weights: dict[str, Path], tmp_path: Path) -> None:
    whole = run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    parts = run(tmp_path, synthetic_data, "--weights", weights["semgcn"], "--batch-size", 37)
    np.testing.assert_allclose(parts.poses, whole.poses, atol=1e-2)  # mm; sums in another order
    assert parts.row.mpjpe_mm == pytest.approx(whole.row.mpjpe_mm, abs=1e-3)


# Weights, the authors' and ours


def test_a_row_tells_how_the_network_was_executed_and_the_run_what_it_took(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    exact = run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    half = run(tmp_path, synthetic_data, "--weights", weights["semgcn"], "--precision", "bf16", "--channels-last")
    assert exact.row.options == ""
    assert half.row.options == "precision=bf16, channels_last=True"
    assert half.row.mpjpe_mm == pytest.approx(exact.row.mpjpe_mm, abs=0.1)
    assert half.row.mpjpe_mm != exact.row.mpjpe_mm
    made = half.predictions.provenance
    assert made.images_per_s is not None and made.images_per_s > 0
    assert made.waiting_share == 0.0
    assert made.peak_memory_mb is None
    assert "cpu: " in half.said and "0 % of the time waiting for data" in half.said
    assert json.loads((half.folder / "report.json").read_text())["provenance"]["options"]["precision"] == "bf16"


def test_what_a_device_cannot_do_is_refused_before_the_work(synthetic_data: Path, tmp_path: Path) -> None:
    for words, message in ((("--precision", "tf32"), "fp32 or bf16"), (("--cuda-graphs",), "leave --cuda-graphs out")):
        assert message in refused_run(tmp_path / "runs", synthetic_data, "--untrained", *words)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_a_gpu_gives_the_cpus_figures(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, model: str
) -> None:
    requests = (BenchRequest(model, synthetic_data, weights=weights[model], device=name) for name in ("cpu", "cuda"))
    on_cpu, on_gpu = (bench(request, tmp_path).row for request in requests)
    assert on_gpu.mpjpe_mm == pytest.approx(on_cpu.mpjpe_mm, abs=0.01)
    assert on_gpu.device != "cpu"


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_the_official_layout_and_ours_give_the_same_predictions(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, model: str, zip_format: bool, prefix: str
) -> None:
    ours = torch.load(weights[model], weights_only=True)
    moments = {"step": 5, "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}
    content = {
        "epoch": 39,
        "step": 950508,
        "lr": 6.925339958244801e-4,
        "error": 42.32632323957809,
        "state_dict": OrderedDict((prefix + name, values) for name, values in ours["state_dict"].items()),
        "optimizer": {"state": {1: moments}, "param_groups": [{"params": [1], "lr": 1e-3, "betas": (0.9, 0.999)}]},
    }
    official = tmp_path / f"ckpt_{model}.pth.tar"
    torch.save(content, official, _use_new_zipfile_serialization=zip_format)
    first, second = (
        run(tmp_path / "runs", synthetic_data, "--weights", path, model=model) for path in (weights[model], official)
    )
    np.testing.assert_array_equal(first.poses, second.poses)
    assert first.row.mpjpe_mm == second.row.mpjpe_mm
    assert first.row.weights_sha256 != second.row.weights_sha256  # of the files, which differ


def test_untrained_is_asked_for_by_name_and_says_so(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    first, second = (run(tmp_path, synthetic_data, "--untrained") for _ in range(2))
    assert (first.row.weights_sha256, first.row.options) == ("untrained", "untrained")
    np.testing.assert_array_equal(first.poses, second.poses)  # random, but the same every time
    trained = run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    assert "untrained" not in (trained.row.weights_sha256, trained.row.options)
    assert not np.array_equal(trained.poses, first.poses)
    assert "| untrained |" in done("leaderboard", "--runs", tmp_path, "--format", "markdown")
    assert run(tmp_path, synthetic_data, "--untrained", "--option", "hid_dim=8").row.options == "hid_dim=8, untrained"


# Protocols and splits


@pytest.mark.parametrize("protocol", FITTING)
def test_protocols_of_16_joints_score_the_lifters(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, protocol: str
) -> None:
    ran = run(tmp_path, synthetic_data, "--weights", weights["semgcn"], "--protocol", protocol)
    assert (ran.row.protocol, ran.row.protocol_version) == (protocol, PROTOCOLS[protocol].version)
    assert ran.row.mean == PROTOCOLS[protocol].mean.name.lower()


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in FITTING])
def test_protocols_of_17_joints_are_refused_with_those_that_fit(
    synthetic_data: Path, tmp_path: Path, protocol: str
) -> None:
    message = refused_run(tmp_path / "runs", synthetic_data, "--untrained", "--protocol", protocol)
    assert message.startswith(
        f"Error: model semgcn: protocol {protocol} scores Neck/Nose, which the predicted skeleton"
    )
    assert f"protocols that fit it: {', '.join(FITTING)}" in message
    assert not (tmp_path / "runs").exists()


def test_the_training_split_is_scored_under_a_name_of_its_own(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    ran = run(tmp_path, synthetic_data, "--weights", weights["semgcn"], "--split", "train")
    assert (ran.row.protocol, ran.row.split) == ("semgcn@S1+S5+S6+S7+S8", "train")
    assert ran.row.frames == VIEWS * FRAMES
    assert ran.row.data_fingerprint == sha256_of(labels_path(synthetic_data, "train"))
    assert "INCOMPLETE: the labels have no subject S5, S6, S7, S8" in ran.said
    run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    assert done("leaderboard", "--runs", tmp_path, "--format", "markdown").count("## ") == 2  # never ranked together


# Detections and labels that do not fit


@pytest.fixture
def copied(synthetic_data: Path, tmp_path: Path) -> Path:
    """A copy of DATA for tests that damage it."""
    return shutil.copytree(synthetic_data, tmp_path / "data")


def without(table: pa.Table, sequence: Sequence, frames: range) -> pa.Table:
    keys = table.select(["subject", "action", "subaction", "camera", "frame"]).to_pylist()
    gone = (sequence.subject, sequence.action, sequence.subaction, sequence.camera)
    kept = [tuple(key.values())[:4] != gone or key["frame"] not in frames for key in keys]
    return table.filter(pa.array(kept))


def test_missing_detections_are_named_by_sequence_and_counted(copied: Path, tmp_path: Path) -> None:
    path = detections_path(copied, "gt")
    absent, short = Sequence("S9", "Eating", 2, "55011271"), Sequence("S11", "Walking", 1, "54138969")
    table = without(without(pq.read_table(path), absent, range(FRAMES)), short, range(5, FRAMES))
    pq.write_table(table, path)
    message = refused_run(tmp_path / "runs", copied, "--untrained")
    assert f"detections gt lack {FRAMES + 3} of {SCORED} frames of the labels" in message
    assert f"\n  {absent}: {FRAMES} of {FRAMES} frames\n" in message
    assert f"\n  {short}: 3 of {FRAMES} frames\n" in message
    for view in sequences(("S9",), ("Directions",)):
        assert str(view) not in message


def test_detections_that_are_not_of_these_joints_are_refused(copied: Path, tmp_path: Path) -> None:
    path = detections_path(copied, "gt")
    table = pq.read_table(path)
    field = table.schema.field("joints_2d")
    names = json.loads(field.metadata[b"joints"])
    numbers = np.zeros((len(table), 3 * len(names)), np.float32)
    for count, joints, reason in (
        (32, names[:16], "no known skeleton has the joints Hip, RHip"),
        (32, names, "column joints_2d holds 32 numbers a row; the 17 joints of h36m-17 need 34, x and y in pixels"),
        (51, names, "column joints_2d holds 51 numbers a row; the 17 joints of h36m-17 need 34, x and y in pixels"),
    ):
        values = pa.FixedSizeListArray.from_arrays(pa.array(numbers[:, :count].ravel()), count)
        metadata = {**field.metadata, b"joints": json.dumps(joints).encode()}
        other = pa.field("joints_2d", values.type, metadata=metadata)
        pq.write_table(table.set_column(table.schema.names.index("joints_2d"), other, values), path)
        assert f"{path}: {reason}" in refused_run(tmp_path / "runs", copied, "--untrained")


def test_detections_that_cannot_be_read_are_refused(copied: Path, tmp_path: Path) -> None:
    path = detections_path(copied, "gt")
    path.write_bytes(path.read_bytes()[:2000])
    assert f"{path}: cannot be read as Parquet" in refused_run(tmp_path / "runs", copied, "--untrained")


def test_missing_and_damaged_labels_are_refused(copied: Path, tmp_path: Path) -> None:
    path = labels_path(copied, "val")
    path.write_bytes(path.read_bytes()[:2000])
    assert f"{path}: cannot be read as Parquet" in refused_run(tmp_path / "runs", copied, "--untrained")
    path.unlink()
    message = refused_run(tmp_path / "runs", copied, "--untrained")
    assert f"{path}: no labels of the val split; run `h36m labels RAW --out {copied}` first" in message


def test_a_split_without_a_scored_pose_is_refused(copied: Path, tmp_path: Path) -> None:
    path = labels_path(copied, "val")
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)
    message = refused_run(tmp_path / "runs", copied, "--untrained")
    assert f"{copied}: no labels of the val split that protocol semgcn scores" in message


# Weights that are none


def test_weights_of_another_model_are_refused_with_the_first_entries(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    message = refused_run(tmp_path / "runs", synthetic_data, "--weights", weights["martinez"])
    assert f"{weights['martinez']}: the weights do not fit SemGCN" in message
    assert "missing: gconv_input.0.gconv.W, gconv_input.0.gconv.e" in message
    assert "unexpected: w1.weight, w1.bias" in message
    message = refused_run(tmp_path / "runs", synthetic_data, "--weights", weights["semgcn"], model="semgcn-nonlocal")
    assert "missing: gconv_input.1.nonlocal.g.0.weight" in message


def test_files_that_hold_no_weights_are_refused(synthetic_data: Path, weights: dict[str, Path], tmp_path: Path) -> None:
    text, page, cut = (tmp_path / name for name in ("weights.txt", "page.pth.tar", "cut.pt"))
    text.write_text("these are no weights\n")
    page.write_text("<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>")
    whole = weights["semgcn"].read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (text, page, cut):
        message = refused_run(tmp_path / "runs", synthetic_data, "--weights", path)
        assert f"{path}: not a PyTorch checkpoint, or a damaged one" in message
    missing = tmp_path / "none.pt"
    assert f"{missing}: cannot be read" in refused_run(tmp_path / "runs", synthetic_data, "--weights", missing)


@pytest.mark.parametrize("way", ["zip", "old format", "bare pickle"])
def test_code_in_weights_is_never_run(synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, way: str) -> None:
    path, sentinel = tmp_path / "evil.pth.tar", tmp_path / "sentinel"
    evil = {**torch.load(weights["semgcn"], weights_only=True), "evil": WritesAFile(sentinel)}
    if way == "bare pickle":
        path.write_bytes(pickle.dumps(WritesAFile(sentinel), protocol=2))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=way == "zip")
    message = refused_run(tmp_path / "runs", synthetic_data, "--weights", path)
    assert f"{path}: refused, because loading it would run" in message
    assert not sentinel.exists()
    pickle.loads(pickle.dumps(WritesAFile(sentinel))).close()
    assert sentinel.exists()  # the trap does work on the careless


def test_nan_in_predictions_is_refused_before_anything_is_written(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    state = torch.load(weights["semgcn"], weights_only=True)["state_dict"]
    next(iter(state.values())).fill_(float("nan"))
    path = tmp_path / "nan.pt"
    torch.save({"state_dict": state}, path)
    message = refused_run(tmp_path / "runs", synthetic_data, "--weights", path)
    assert f"model semgcn with {path} on detections gt predicts NaN or infinite numbers" in message
    assert f"for {SCORED} of {SCORED} poses, the first is S9/Directions 1.54138969 frame 0" in message
    assert not (tmp_path / "runs").exists()


def test_nan_in_detections_is_refused_with_the_first_frame(copied: Path, tmp_path: Path) -> None:
    path = detections_path(copied, "gt")
    table = pq.read_table(path)
    poses = pose_array(table, "joints_2d").copy()
    poses[-1, 3] = np.nan  # the last frame of S11's last Walking
    field = table.schema.field("joints_2d")
    values = pa.FixedSizeListArray.from_arrays(pa.array(poses.ravel()), type=field.type)
    pq.write_table(table.set_column(table.schema.names.index("joints_2d"), field, values), path)
    message = refused_run(tmp_path / "runs", copied, "--untrained")
    assert "predicts NaN or infinite numbers for 1 of" in message
    assert f"the first is S11/Walking.60457274 frame {FRAMES - 1}; look for such numbers in the weights" in message


# Run folders


class _Noon(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> _Noon:
        return cls(2025, 6, 1, 12, 0, 0, tzinfo=tz)


def test_runs_of_the_same_second_get_folders_of_their_own(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folders, "datetime", _Noon)
    request = BenchRequest("semgcn", synthetic_data, weights=weights["semgcn"], device="cpu")
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(lambda _: bench(request, tmp_path), range(6)))
    names = ["semgcn-gt-semgcn-20250601-120000", *(f"semgcn-gt-semgcn-20250601-120000-{n}" for n in range(2, 7))]
    assert sorted(result.folder.name for result in results) == names
    assert visible(tmp_path) == sorted([*names, "leaderboard.csv"])
    rows = read_leaderboard(tmp_path / "leaderboard.csv")
    assert sorted(row.run for row in rows) == names
    for row in rows:
        assert sha256_of(tmp_path / row.run / "predictions.parquet") == row.predictions_sha256


def test_a_leaderboard_that_is_none_is_told_before_the_work(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "leaderboard.csv").write_text("run,score\na,1\n")
    words = ("--data", synthetic_data, "--runs", tmp_path, "--weights", weights["semgcn"])
    message = refused("bench", "--model", "semgcn", *words)
    assert f"{tmp_path / 'leaderboard.csv'}, line 1: no leaderboard of this version" in message
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.csv"]
    assert (tmp_path / "leaderboard.csv").read_text() == "run,score\na,1\n"


# Less than the whole protocol


def test_a_narrowed_protocol_has_a_name_of_its_own_and_ranks_alone(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    words = ("--weights", weights["semgcn"], "--test-subjects", "S9", "--actions", "Walking,Eating", "--every", 5)
    ran = run(tmp_path, synthetic_data, *words)
    assert ran.row.protocol == "semgcn@S9/Eating+Walking/every-5"
    table = ran.predictions.table
    assert set(table.column("subject").to_pylist()) == {"S9"}
    assert set(table.column("action").to_pylist()) == {"Walking", "Eating"}
    assert set(table.column("frame").to_pylist()) == {0, 5}
    assert (ran.row.frames, ran.row.incomplete) == (2 * 2 * len(CAMERA_IDS) * 2, False)
    whole = run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    text = done("leaderboard", "--runs", tmp_path, "--format", "markdown")
    assert text.count("## ") == 2
    said = done("eval", whole.folder, "--data", synthetic_data, "--protocol", ran.row.protocol)
    assert f"| {ran.row.mpjpe_mm:.2f} |" in said  # the same frames of the whole run, scored again


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--test-subjects", "S1"), "S1: not of the val split, which has S9, S11"),
        (("--actions", "Runing"), "no action is called Runing; there are Directions"),
        (("--protocol", "semgcn@S9/every-0"), "no action is called every-0"),
    ],
)
def test_what_cannot_be_narrowed_to_is_refused(
    synthetic_data: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in refused_run(tmp_path / "runs", synthetic_data, "--untrained", *words)


# Going on with what was run


def test_a_finished_run_is_kept_and_only_for_the_same_request(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    words = ("--weights", weights["semgcn"], "--resume")
    first = run(tmp_path, synthetic_data, *words)
    again = run(tmp_path, synthetic_data, *words)
    assert again.said.replace("kept /", "wrote /") == first.said
    assert "\nkept /" in again.said
    assert len(read_leaderboard(tmp_path / "leaderboard.csv")) == 1
    different = (("--detections", "cpn"), ("--protocol", "semgcn-centred"), ("--every", 2), ("--precision", "bf16"))
    for other in different:
        assert "wrote" in run(tmp_path, synthetic_data, *words, *other).said
    assert "wrote" in run(tmp_path, synthetic_data, "--weights", weights["semgcn"]).said  # not asked to resume


@pytest.mark.parametrize("harm", ["unfinished", "altered"])
def test_a_run_that_is_no_evidence_is_run_again(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, harm: str
) -> None:
    words = ("--weights", weights["semgcn"], "--resume")
    first = run(tmp_path, synthetic_data, *words)
    if harm == "unfinished":
        (first.folder / "complete.json").unlink()
    else:
        (first.folder / "per_action.csv").write_text("action,frames\n")
    again = run(tmp_path, synthetic_data, *words)
    assert "wrote" in again.said
    assert again.folder != first.folder
    np.testing.assert_array_equal(again.poses, first.poses)


def test_a_run_that_was_stopped_before_its_row_gets_it(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    words = ("--weights", weights["semgcn"], "--resume")
    first = run(tmp_path, synthetic_data, *words)
    (tmp_path / "leaderboard.csv").unlink()
    assert run(tmp_path, synthetic_data, *words).row == first.row


# Scoring again


def test_predictions_of_a_run_are_scored_again_as_a_run_of_their_own(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    ran = run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    words = ("--data", synthetic_data, "--protocol", "semgcn-centred", "--runs", tmp_path)
    said = done("eval", ran.folder, *words)
    first, second = read_leaderboard(tmp_path / "leaderboard.csv")
    assert (second.protocol, second.model, second.weights_sha256) == ("semgcn-centred", "semgcn", first.weights_sha256)
    assert second.predictions_sha256 == first.predictions_sha256
    assert f"wrote {tmp_path / second.run}, a row in {tmp_path / 'leaderboard.csv'}" in said
    run_folders.check_sealed(tmp_path / second.run)
    assert second.run.startswith("semgcn-gt-semgcn-centred-")


def test_a_folder_that_was_edited_is_not_scored_again(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    ran = run(tmp_path, synthetic_data, "--weights", weights["semgcn"])
    (ran.folder / "report.json").write_text("{}")
    message = refused("eval", ran.folder, "--data", synthetic_data, "--protocol", "semgcn")
    assert f"{ran.folder}: altered: report.json is not the file that complete.json was written for" in message
    done("eval", ran.folder / "predictions.parquet", "--data", synthetic_data, "--protocol", "semgcn")


# Flip test and ensemble


def test_a_lifter_is_flip_tested_and_the_row_says_so(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    plain, flipped = (
        run(tmp_path, synthetic_data, "--weights", weights["semgcn"], *more) for more in ((), ("--flip",))
    )
    assert flipped.row.options == "flip_test=True"
    assert flipped.predictions.provenance.options == {"flip_test": True}
    assert np.abs(flipped.poses - plain.poses).max() > 1
    words = ("--weights", weights["semgcn"], "--flip", "--resume")
    assert "kept" in run(tmp_path, synthetic_data, *words).said


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_an_ensemble_of_a_lifter_with_itself_is_the_lifter(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path, model: str
) -> None:
    own = ("--weights", weights[model])
    alone, together = (
        run(tmp_path, synthetic_data, *own, *more, model=model) for more in ((), ("--ensemble", weights[model]))
    )
    np.testing.assert_array_equal(together.poses, alone.poses)
    assert together.row.options == "ensemble=2"
    assert together.row.parameters == 2 * model_card(model).parameters
    assert together.row.weights_sha256 == "+".join([sha256_of(weights[model])] * 2)


def test_an_ensemble_is_the_mean_of_its_lifters_each_in_its_own_units(synthetic_data: Path, tmp_path: Path) -> None:
    words = ("--data", synthetic_data, "--runs", tmp_path, "--epochs", 1, "--device", "cpu", "--validate-on", "none")
    done("train", "--model", "martinez-tf", "--name", "trained", *words)
    files = [tmp_path / "trained" / "checkpoint_last.pt", tmp_path / "other.pt"]
    content = torch.load(files[0], weights_only=True)
    content["normaliser"]["std_3d"] *= 1.5
    content["normaliser"]["mean_2d"] += 40
    torch.save(content, files[1])
    single = [run(tmp_path, synthetic_data, "--weights", path, model="martinez-tf").poses for path in files]
    both = run(tmp_path, synthetic_data, "--weights", files[0], "--ensemble", files[1], model="martinez-tf").poses
    np.testing.assert_allclose(both, (single[0] + single[1]) / 2, rtol=0, atol=1e-3)
    assert np.abs(single[0] - single[1]).max() > 1


def test_an_ensemble_of_random_weights_is_refused(
    synthetic_data: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    words = ("--untrained", "--ensemble", weights["semgcn"])
    assert "an ensemble needs weights of its first model" in refused_run(tmp_path, synthetic_data, *words)
