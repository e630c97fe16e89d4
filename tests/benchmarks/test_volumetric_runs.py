"""`h36m bench` of the models that see images: from frames to a scored run, and what it says of what is missing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic_data import done, refused
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from h36m_toolbox.benchmarks.foreign.world_views import world_to_views
from h36m_toolbox.benchmarks.predictions import Predictions, read_predictions
from h36m_toolbox.benchmarks.runs.volumetric_data import read_samples
from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles
from h36m_toolbox.benchmarks.standings.leaderboard import LeaderboardRow, read_leaderboard
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import FrameStore
from h36m_toolbox.models import create_model
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.pelvis.estimates import pelvis_path
from h36m_toolbox.pose_tables import pose_array, row_keys
from h36m_toolbox.sequences import Recording
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.storage.pickle_stream import write_object_npy, write_pickled_value
from h36m_toolbox.storage.safe_pickle import read_object_npy, read_plain_pickle
from h36m_toolbox.views.labels import read_multiview_labels
from h36m_toolbox.views.samples import View, view_reader

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {"layers": 18, "image_px": 128}
TABLE = Path("labels", "multiview", "human36m-multiview-labels-GTbboxes.npy")


@pytest.fixture(scope="module")
def data(prepared: Path, archives_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA of the reduced archive with everything that these models ask for; tests only read it."""
    data = tmp_path_factory.mktemp("views") / "data"
    (data / "labels").mkdir(parents=True)
    for name in ("images", "detections", "labels/parquet"):
        (data / name).symlink_to(prepared / name)
    done("labels", archives_folder, "--out", data, "--format", "multiview", "--jobs", 1)
    done("stats", data)
    done("pelvis", data, "--detections", "cpn")
    return data


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy of that DATA that a test may damage; its frames are the shared ones."""
    return Path(shutil.copytree(data, tmp_path / "data", symlinks=True, ignore=shutil.ignore_patterns("raw")))


def words(model: str, data: Path, runs: Path, *more: object) -> tuple[object, ...]:
    voxels = {"contextpose": {"voxels": 16}, "volumetric": {"voxels": 32}}.get(model, {})
    options = [word for name, value in (OPTIONS | voxels).items() for word in ("--option", f"{name}={value}")]
    return ("bench", "--model", model, "--data", data, "--runs", runs, "--device", "cpu", *options, *more)


class Ran:
    """A run's folder, row, predictions and official results."""

    def __init__(self, runs: Path) -> None:
        self.row: LeaderboardRow = read_leaderboard(runs / "leaderboard.csv")[-1]
        self.folder = runs / self.row.run
        self.predictions: Predictions = read_predictions(self.folder / "predictions.parquet")
        self.results = read_plain_pickle(self.folder / "results.pkl")

    @property
    def poses(self) -> np.ndarray:
        return pose_array(self.predictions.table, "joints_3d")


def run(model: str, data: Path, runs: Path, *more: object) -> Ran:
    done(*words(model, data, runs, *more))
    return Ran(runs)


# What a run leaves behind


@pytest.mark.parametrize("model", ["contextpose", "volumetric", "algebraic", "ransac"])
def test_a_run_is_scored_under_the_model_s_own_protocol_and_says_that_it_is_untrained(
    model: str, data: Path, tmp_path: Path
) -> None:
    ran = run(model, data, tmp_path, "--untrained")
    contract = model_card(model).contract(**OPTIONS)
    table = read_multiview_labels(data, "val")
    views = int(table.seen.sum())
    assert ran.row.protocol == contract.protocol
    assert ran.row.weights_sha256 == "untrained"
    assert "untrained" in ran.row.options
    assert ran.row.detections == ("pelvis-cpn-dlt" if contract.needs_pelvis else "")
    assert ran.row.detections_sha256 == (sha256_of(pelvis_path(data, "val")) if contract.needs_pelvis else "")
    assert ran.row.frames == (views if contract.views == "one" else len(table))
    assert len(ran.predictions.table) == views
    assert ran.predictions.provenance.root == "absolute"
    poses, indexes = ran.results["keypoints_3d"], ran.results["indexes"]
    assert poses.shape == (views if contract.views == "one" else len(table), 17, 3)
    assert poses.dtype == np.float32
    np.testing.assert_array_equal(indexes, np.arange(len(poses)))


def test_predictions_are_the_world_poses_in_each_view_s_camera_frame(data: Path, tmp_path: Path) -> None:
    ran = run("volumetric", data, tmp_path, "--untrained")
    keys = row_keys(ran.predictions.table)
    table = read_multiview_labels(data, "val")
    instants = (keys >> 36) << 32 | keys & 0xFFFFFFFF
    world = ran.results["keypoints_3d"][np.searchsorted(table.keys, instants)].astype(np.float64)
    np.testing.assert_allclose(ran.poses, world_to_views(keys, world, relative=False), atol=1e-2)
    hips = table.joints_3d[np.searchsorted(table.keys, instants), 6]
    assert np.linalg.norm(world.mean(axis=1) - hips, axis=1).max() < 500  # the volume is around the pelvis


def test_the_true_poses_of_the_label_table_score_next_to_nothing(data: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.pkl"
    table = read_multiview_labels(data, "val")
    write_pickled_value(results, {"keypoints_3d": table.joints_3d, "indexes": np.arange(len(table))})
    out = tmp_path / "out"
    done("eval", results, "--data", data, "--protocol", "learnable-triangulation-absolute", "--out", out)
    assert json.loads((out / "report.json").read_text())["headline"]["mpjpe"] < 0.01


@pytest.mark.parametrize("model", ["contextpose", "ransac"])
def test_official_results_score_as_the_run_does(model: str, data: Path, tmp_path: Path) -> None:
    ran = run(model, data, tmp_path / "runs", "--untrained")
    out = tmp_path / "out"
    where = ("--data", data, "--protocol", ran.row.protocol, "--as-stated", "--out", out)
    done("eval", ran.folder / "results.pkl", *where)
    again = json.loads((out / "report.json").read_text())["headline"]["mpjpe"]
    assert again == pytest.approx(ran.row.mpjpe_mm, abs=1e-3)


def test_the_flip_test_and_an_ensemble_of_views_are_averaged_and_named(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = create_model("algebraic", **OPTIONS)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    own = ("--weights", tmp_path / "weights.pth")
    plain, flipped, both = (
        run("algebraic", data, tmp_path / f"run{number}", *own, *more)
        for number, more in enumerate(((), ("--flip",), ("--ensemble", tmp_path / "weights.pth")))
    )
    np.testing.assert_array_equal(both.poses, plain.poses)
    assert np.abs(flipped.poses - plain.poses).max() > 1
    assert "flip_test=True" in flipped.row.options
    assert "ensemble=2" in both.row.options
    assert both.row.parameters == 2 * plain.row.parameters


def test_weights_from_a_file_give_what_they_gave_before_whatever_the_batch(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = create_model("algebraic", **OPTIONS)
    torch.save({f"module.{name}": values for name, values in model.state_dict().items()}, tmp_path / "weights.pth")
    one, other = (
        run("algebraic", data, tmp_path / f"by-{size}", "--weights", tmp_path / "weights.pth", "--batch-size", size)
        for size in (1, 3)
    )
    assert one.row.weights_sha256 == sha256_of(tmp_path / "weights.pth")
    np.testing.assert_allclose(one.poses, other.poses, rtol=1e-3)


def test_a_narrowed_run_takes_only_its_instants_and_leaves_no_official_results(data: Path, tmp_path: Path) -> None:
    done(*words("ransac", data, tmp_path, "--untrained", "--actions", "Walking", "--test-subjects", "S9"))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert not (folder / "results.pkl").exists()
    assert {row["action"] for row in read_predictions(folder / "predictions.parquet").table.to_pylist()} == {"Walking"}


def test_a_narrowed_run_needs_only_its_own_frames(own: Path, prepared: Path, tmp_path: Path) -> None:
    (own / "images").unlink()
    for path in (prepared / "images").glob("s_09_*/*_000001.jpg"):
        place = own / "images" / path.parent.name / path.name
        place.parent.mkdir(parents=True)
        place.symlink_to(path)
    assert "frames are missing" in refusal("ransac", own, tmp_path / "runs")
    done(*words("ransac", own, tmp_path / "runs", "--untrained", "--every", 10))


def test_a_finished_run_is_kept(data: Path, tmp_path: Path) -> None:
    first = run("ransac", data, tmp_path, "--untrained")
    said = done(*words("ransac", data, tmp_path, "--untrained", "--resume"))
    assert f"kept {first.folder}" in said
    assert len(read_leaderboard(tmp_path / "leaderboard.csv")) == 1


# The algebraic model's output is ContextPose's pelvis, as in the paper


def test_results_of_the_algebraic_model_feed_contextpose(own: Path, tmp_path: Path) -> None:
    results = run("algebraic", own, tmp_path / "a", "--untrained").folder / "results.pkl"
    direct = run("contextpose", own, tmp_path / "b", "--untrained", "--pelvis", results)
    assert direct.row.detections == "pelvis-results"
    assert direct.row.detections_sha256 == sha256_of(results)
    pelvis_path(own, "val").unlink()
    done("pelvis", own, "--results", results)
    through_data = run("contextpose", own, tmp_path / "c", "--untrained")
    np.testing.assert_allclose(direct.poses, through_data.poses, atol=1e-3)


def test_the_true_pelvis_is_the_middle_only_where_it_is_asked_for(data: Path) -> None:
    contract = model_card("volumetric").contract(**OPTIONS)
    labels = read_multiview_labels(data, "val")
    true = read_samples(data, "val", contract, ViewFiles(pelvis="gt")).base
    np.testing.assert_array_equal(true.points, labels.joints_3d[:, 6])
    estimated = read_samples(data, "val", contract, ViewFiles()).base
    assert (estimated.source, true.source) == ("cpn dlt", "gt")
    assert np.abs(estimated.points - true.points).max() > 0.1


def test_an_official_label_table_stands_in_for_data_s(data: Path, golden_folder: Path, tmp_path: Path) -> None:
    official = golden_folder / "multiview_labels.npy"
    one = run("ransac", data, tmp_path / "a", "--untrained", "--labels", official)
    other = run("ransac", data, tmp_path / "b", "--untrained")
    np.testing.assert_allclose(one.poses, other.poses, rtol=1e-2, atol=1)
    assert len(one.poses) == len(other.poses)


# Frames


def test_frames_are_undistorted_as_they_are_read_or_were_before(
    own: Path, archives_folder: Path, tmp_path: Path
) -> None:
    labels = read_multiview_labels(own, "val")
    reader = view_reader(own, labels)
    assert {frames.store for frames in reader.frames.values()} == {FrameStore()}
    on_the_fly = reader.view(0, 0)
    assert on_the_fly.image.shape == (384, 384, 3)
    done("extract", archives_folder, "--out", own, "--undistort", "--every", 64, "--jobs", 1)
    stored = view_reader(own, labels)
    assert {frames.store for frames in stored.frames.values()} == {FrameStore(undistorted=True)}
    before = stored.view(0, 0)
    np.testing.assert_array_equal(before.projection, on_the_fly.projection)
    difference = np.abs(before.image.astype(int) - on_the_fly.image)
    assert 0 < difference.mean() < 2  # JPEG once more


def test_lossless_crops_give_the_same_views_and_need_no_frames(
    own: Path, archives_folder: Path, tmp_path: Path
) -> None:
    labels = read_multiview_labels(own, "val")
    places = [(0, camera) for camera in range(4)]

    def views() -> list[View]:
        reader = view_reader(own, labels)
        return [reader.view(*place) for place in places]

    def assert_same(found: list[View], expected: list[View]) -> None:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.projection, other.projection)

    whole = views()
    said = done("crops", own, "--crop", "views", "--subjects", "S9", "--jobs", 1)
    assert f"{len(labels) * 4} crops" in said
    assert_same(views(), whole)
    (own / "images").rename(own / "elsewhere")
    assert_same(views(), whole)
    assert not view_reader(own, labels).frames
    (own / "elsewhere").rename(own / "images")
    one_camera = ("--subjects", "S9", "--cameras", "54138969", "--every", 64, "--jobs", 1)
    done("extract", archives_folder, "--out", own, "--undistort", *one_camera)
    with pytest.raises(H36MError, match="its crops are of other images"):
        view_reader(own, labels)
    shutil.rmtree(own / "images-undistorted-crop-views-384x384-lossless")
    undistorted = views()
    done("crops", own, "--crop", "views", "--subjects", "S9", "--jobs", 1)
    assert_same(views(), undistorted)


def test_views_are_cut_around_the_person(data: Path) -> None:
    labels = read_multiview_labels(data, "val")
    reader = view_reader(data, labels, size=256)
    for camera in range(4):
        view = reader.view(2, camera)
        homogeneous = np.c_[labels.joints_3d[2], np.ones(17)] @ view.projection.T
        pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        assert (pixels > 0).all()
        assert (pixels < 256).all()
        assert np.ptp(pixels[:, 1]) > 128  # upright, and as high as the crop nearly


# What is missing is named, with the command that makes it


def refusal(model: str, data: Path, runs: Path, *more: object) -> str:
    message = refused(*words(model, data, runs, "--untrained", *more))
    assert not runs.exists() or not list(runs.iterdir())
    return message


def test_missing_limb_statistics(own: Path, tmp_path: Path) -> None:
    shutil.rmtree(own / "stats")
    message = refusal("contextpose", own, tmp_path / "runs")
    assert "mean_and_std_limb_length.h5: no limb-length statistics" in message
    assert f"`h36m stats {own}`" in message


def test_damaged_limb_statistics(own: Path, tmp_path: Path) -> None:
    (tmp_path / "short.h5").write_bytes(b"nothing")
    assert "short.h5: cannot be read" in refusal(
        "contextpose", own, tmp_path / "runs", "--stats", tmp_path / "short.h5"
    )


def test_missing_pelvis_estimates(own: Path, tmp_path: Path) -> None:
    shutil.rmtree(own / "pelvis")
    for model in ("contextpose", "volumetric"):
        assert "`h36m pelvis " in refusal(model, own, tmp_path / "runs")


def test_pelvis_estimates_of_other_instants(own: Path, tmp_path: Path) -> None:
    content = read_object_npy(own / TABLE)
    content["table"]["frame_idx"] += 5000
    write_object_npy(tmp_path / "other.npy", content)
    message = refusal("volumetric", own, tmp_path / "runs", "--labels", tmp_path / "other.npy")
    assert "has no pelvis for 4 of the 4 instants" in message
    assert "`h36m pelvis " in message


def test_missing_boxes(own: Path, tmp_path: Path) -> None:
    shutil.rmtree(own / "labels" / "multiview")
    message = refusal("algebraic", own, tmp_path / "runs")
    assert "no multi-view label table" in message
    assert f"`h36m labels RAW --out {own} --format multiview`" in message


def test_missing_frames(own: Path, tmp_path: Path) -> None:
    (own / "images").unlink()
    (own / "images").mkdir()
    message = refusal("algebraic", own, tmp_path / "runs")
    assert "frames are missing" in message
    assert "the first is frame 0" in message
    assert f"`h36m extract RAW --out {own} --undistort`" in message


def test_an_instant_of_one_view_is_none_for_a_multi_view_model(own: Path, tmp_path: Path) -> None:
    content = read_object_npy(own / TABLE)
    content["table"]["bbox_by_camera_tlbr"][-1, 1:] = 0
    write_object_npy(own / TABLE, content)
    message = refusal("ransac", own, tmp_path / "runs")
    assert "1 instants are seen by fewer than two cameras" in message


def test_detections_for_a_model_that_sees_images(own: Path, tmp_path: Path) -> None:
    assert "takes no 2D detections; leave cpn out" in refusal("ransac", own, tmp_path / "runs", "--detections", "cpn")


@pytest.mark.parametrize(
    ("change", "words_of_it"),
    [
        (lambda content: content.pop("cameras"), "it lacks cameras"),
        (lambda content: content["camera_names"].reverse(), "its cameras are 60457274, 58860488"),
        (lambda content: content.update(table=content["table"][:0]), "has no instants of S9, S11"),
        (lambda content: content.update(action_names=["Running-1"] * 30), "its table cannot be understood"),
    ],
)
def test_a_label_table_that_is_none(own: Path, tmp_path: Path, change: object, words_of_it: str) -> None:
    content = read_object_npy(own / TABLE)
    change(content)
    write_object_npy(own / TABLE, content)
    assert words_of_it in refusal("ransac", own, tmp_path / "runs")


# The label table


def test_the_label_table_is_read_back_as_it_was_written(golden_folder: Path, data: Path) -> None:
    path = golden_folder / "multiview_labels.npy"
    official = np.load(path, allow_pickle=True).item()
    labels = read_multiview_labels(data, "val", path)
    rows = official["table"][np.isin(official["table"]["subject_idx"], (5, 6))]
    assert len(labels) == len(rows)
    np.testing.assert_array_equal(labels.joints_3d, rows["keypoints"])
    np.testing.assert_array_equal(labels.boxes[..., [1, 0, 3, 2]], rows["bbox_by_camera_tlbr"])
    assert [labels.frame(i) for i in range(len(labels))] == rows["frame_idx"].tolist()
    assert labels.recording(0) == Recording("S9", "Walking", 1)
    assert labels.calibrations["K"].dtype == np.float32


# Training

TINY = """
model = "contextpose"
[options]
layers = 18
image_px = 64
voxels = 16
volume_std = 0.05
[recipe]
epochs = 2
samples_per_epoch = 4
batch_size = 2
"""


def train(data: Path, runs: Path, *more: object) -> str:
    config = runs / "tiny.toml"
    runs.mkdir(exist_ok=True)
    config.write_text(TINY)
    return done("train", "--config", config, "--data", data, "--runs", runs, "--device", "cpu", *more)


def test_a_training_leaves_checkpoints_logs_and_events_and_its_weights_run(data: Path, tmp_path: Path) -> None:
    said = train(data, tmp_path, "--tensorboard")
    folder = tmp_path / "train-contextpose"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("checkpoint_best.pt", "checkpoint_last.pt", "curves.png", "log.csv", "tensorboard", "train.toml")
    ]
    assert "validation" in said
    pictures = EventAccumulator(str(folder / "tensorboard"), {"images": 0})
    pictures.Reload()
    tags = pictures.Tags()["images"]
    assert {tag.split("/")[0] for tag in tags} == {"poses", "volume"}
    for tag in tags:
        assert [event.step for event in pictures.Images(tag)] == [1, 2]
        drawn = cv2.imdecode(np.frombuffer(pictures.Images(tag)[0].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        assert drawn.shape == (256, 256 if tag.startswith("poses") else 768, 3)
        assert drawn.std() > 10
    again = done("train", "--config", folder / "train.toml", "--data", data, "--runs", tmp_path, "--device", "cpu")
    assert "epoch 2" in again  # nothing was left to do
    weights = folder / "checkpoint_last.pt"
    options = ("--option", "layers=18", "--option", "image_px=64", "--option", "voxels=16")
    where = ("--data", data, "--runs", tmp_path, "--device", "cpu")
    done("bench", "--model", "contextpose", "--weights", weights, *where, *options)
    row = read_leaderboard(tmp_path / "leaderboard.csv")[-1]
    assert row.weights_sha256 == sha256_of(weights)
    assert "untrained" not in row.options


def test_results_of_the_training_split_are_the_pelvis_of_a_training(own: Path, tmp_path: Path) -> None:
    ran = run("algebraic", own, tmp_path, "--untrained", "--split", "train", "--protocol", "martinez-all-frames")
    assert len(ran.results["indexes"]) == len(read_multiview_labels(own, "train"))
    before = sha256_of(pelvis_path(own, "train"))
    done("pelvis", own, "--results", ran.folder / "results.pkl")
    assert sha256_of(pelvis_path(own, "train")) != before


@pytest.mark.slow
def test_a_tiny_model_learns_frames_by_heart(data: Path, tmp_path: Path) -> None:
    values = {"samples_per_epoch": 2, "lr_backbone": 1e-3, "lr_process_features": 1e-2, "lr_volume_net": 3e-2}
    recipe = "".join(f"{name} = {value}\n" for name, value in values.items())
    (tmp_path / "tiny.toml").write_text(f"{TINY.replace('samples_per_epoch = 4', '')}random_rotation = false\n{recipe}")
    few = ("--train-subjects", "S1", "--actions", "Walking", "--every", 1000, "--validate-on", "none", "--epochs", 20)
    where = ("--data", data, "--runs", tmp_path, "--name", "run", "--device", "cpu")
    done("train", "--config", tmp_path / "tiny.toml", *where, *few)
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        errors = [float(row["train_mpjpe_mm"]) for row in csv.DictReader(file)]
    assert errors[-1] < errors[0] / 2.5


@pytest.mark.parametrize("name", ["volumetric", "algebraic-without-confidences"])
def test_a_published_experiment_is_asked_for_by_its_name(name: str, data: Path, tmp_path: Path) -> None:
    px, voxels = (64, ["--option", "voxels=64"]) if name == "volumetric" else (64, [])
    words_of_it = ("--config", name, "--option", "layers=18", "--option", f"image_px={px}", *voxels, "--epochs", 1)
    where = ("--data", data, "--runs", tmp_path, "--name", "run", "--device", "cpu", "--validate-on", "none")
    (tmp_path / "run").mkdir()
    message = refused("train", *words_of_it, *where, "--batch-size", 400)
    assert "training samples do not fill 1 batches of 400" in message


def test_a_training_without_pelvis_estimates_says_what_makes_them(own: Path, tmp_path: Path) -> None:
    pelvis_path(own, "train").unlink()
    (tmp_path / "tiny.toml").write_text(TINY)
    message = refused("train", "--config", tmp_path / "tiny.toml", "--data", own, "--runs", tmp_path / "runs")
    assert "`h36m pelvis" in message


def test_a_start_checkpoint_fills_the_backbone_of_a_training(data: Path, tmp_path: Path) -> None:
    backbone = create_model("contextpose", layers=18, voxels=16).get_submodule("backbone")
    torch.nn.init.ones_(backbone.get_parameter("conv1.weight"))
    torch.save({f"module.{name}": values for name, values in backbone.state_dict().items()}, tmp_path / "start.pth")
    train(data, tmp_path, "--start", tmp_path / "start.pth", "--epochs", 1, "--validate-on", "none")
    learnt = torch.load(tmp_path / "train-contextpose" / "checkpoint_last.pt", weights_only=True)["state_dict"]
    assert (learnt["backbone.conv1.weight"] - 1).abs().max() < 1e-3


@pytest.mark.slow
def test_two_processes_train_and_predict_what_one_predicts(data: Path, tmp_path: Path) -> None:
    def on_two(*words_of_it: object) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        line = [*command, "-m", "h36m_toolbox", *map(str, words_of_it)]
        ran = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=240)
        assert ran.returncode == 0, ran.stderr

    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    where = ("--data", data, "--device", "cpu")
    on_two("train", "--config", config, *where, "--runs", tmp_path, "--epochs", 1)
    weights = tmp_path / "train-contextpose" / "checkpoint_last.pt"
    values = {"volume_std": 0.05, "image_px": 64, "voxels": 16, "layers": 18}
    options = [word for name, value in values.items() for word in ("--option", f"{name}={value}")]
    asked = ("bench", "--model", "contextpose", "--weights", weights, *options, *where)
    on_two(*asked, "--runs", tmp_path / "two")
    done(*asked, "--runs", tmp_path / "one")
    np.testing.assert_allclose(Ran(tmp_path / "one").poses, Ran(tmp_path / "two").poses, rtol=1e-4, atol=1e-2)
