"""`h36m bench --model ca-poseformer`: from frames, labels and detections in DATA to a row of the leaderboard."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from synthetic_data import done, h36m, refused

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.predictions import PREDICTION_COLUMN, read_predictions
from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models import ca_poseformer, create_model, feature_cache
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.hrnet import HRNet, PoseHRNet
from h36m_toolbox.models.pose_transformer import PoseTransformer
from h36m_toolbox.models.poseformer_data import (
    CropReader,
    PoseFormerRows,
    batches,
    poseformer_rows,
    reading,
    rows_with_frames,
)
from h36m_toolbox.models.poseformer_inference import predict
from h36m_toolbox.models.poseformer_inputs import crop_mirror, poses_of
from h36m_toolbox.models.test_time import flip_tested
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.skeletons import H36M_17

pytestmark = pytest.mark.usefixtures("one_thread")
EVERY = 80


@pytest.fixture(autouse=True)
def _narrow_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one takes seconds for a few frames."""
    monkeypatch.setattr(ca_poseformer, "backbone", lambda _: HRNet(2))
    monkeypatch.setattr(ca_poseformer, "PoseTransformer", lambda config: PoseTransformer(replace(config, width=32)))


@pytest.fixture(scope="module")
def rows(prepared: Path) -> PoseFormerRows:
    labels = read_labels(prepared, "val", ["joints_3d_camera"])
    labels = labels.filter(labels.column("frame").to_numpy() % EVERY == 0)
    return poseformer_rows(labels, match_detections(labels, read_detections(prepared, "cpn"), "cpn", H36M_17.joints))


def asked(prepared: Path, runs: Path, *more: object) -> tuple[object, ...]:
    few = ("--every", EVERY, "--test-subjects", "S9", "--device", "cpu")
    return ("bench", "--model", "ca-poseformer", "--data", prepared, "--untrained", "--runs", runs, *few, *more)


def test_a_run_predicts_every_scored_frame_with_the_flip_test_on_cpn(
    prepared: Path, tmp_path: Path, rows: PoseFormerRows
) -> None:
    assert "ca-poseformer" in done(*asked(prepared, tmp_path, "--batch-size", 3))
    with (tmp_path / "leaderboard.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["detections"] == "cpn"
    assert row["protocol"].startswith("ca-poseformer")
    found = pose_array(read_predictions(tmp_path / row["run"] / "predictions.parquet").table, PREDICTION_COLUMN)
    torch.manual_seed(0)
    model = create_model("ca-poseformer").eval()
    with torch.inference_mode():
        (batch,) = batches(rows, CropReader(prepared), [np.arange(len(rows))])
        expected = flip_tested(lambda each: poses_of(model, each, "hrnet_32"), crop_mirror())(batch)
    np.testing.assert_allclose(found, expected.numpy() * 1000, atol=0.05)
    errors = metrics.mpjpe(found.astype(np.float64), rows.targets.astype(np.float64) * 1000)
    assert float(row["mpjpe_mm"]) == pytest.approx(errors.mean(), abs=1e-3)


def test_without_the_flip_test_each_frame_is_seen_once(prepared: Path, rows: PoseFormerRows) -> None:
    torch.manual_seed(0)
    model = create_model("ca-poseformer")
    reader, some = CropReader(prepared), rows.taken(slice(0, 3))
    read = reading(some, reader)
    once = predict(model, 3, read, FromCrops("hrnet_32", flip_test=False), batch_size=2)
    assert model.training
    with torch.inference_mode():
        (batch,) = batches(some, reader, [np.arange(3)])
        expected = poses_of(model.eval(), batch, "hrnet_32")
    np.testing.assert_allclose(once, expected.numpy(), atol=1e-5)
    assert np.abs(once - predict(model, 3, read, FromCrops("hrnet_32"))).max() > 1e-3


def test_the_row_names_the_flip_test_and_an_ensemble_of_a_model_with_itself_is_the_model(
    prepared: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    weights = tmp_path / "weights.pt"
    torch.save(create_model("ca-poseformer").state_dict(), weights)
    own = [word for word in asked(prepared, tmp_path) if word != "--untrained"]
    for more in ((), ("--flip", "--ensemble", weights), ("--option", "flip_test=false")):
        done(*own, "--weights", weights, *more)
    with (tmp_path / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    options = [row["options"] for row in rows]
    assert options == ["flip_test=True", "flip_test=True, ensemble=2", "flip_test=False"]
    plain, both, once = (
        pose_array(read_predictions(tmp_path / row["run"] / "predictions.parquet").table, PREDICTION_COLUMN)
        for row in rows
    )
    np.testing.assert_array_equal(both, plain)
    assert np.abs(once - plain).max() > 1
    message = refused(*own, "--weights", weights, "--flip", "--option", "flip_test=false")
    assert "--flip and --option flip_test=false contradict each other" in message


def test_no_rows_give_no_poses(prepared: Path, rows: PoseFormerRows) -> None:
    model = create_model("ca-poseformer")
    read = reading(rows, CropReader(prepared))
    assert predict(model, 0, read, FromCrops("hrnet_32")).shape == (0, 17, 3)


def test_other_backbones_are_asked_for_by_name(prepared: Path, tmp_path: Path) -> None:
    done(*asked(prepared, tmp_path, "--backbone", "cpn", "--detections", "gt"))
    with (tmp_path / "leaderboard.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["detections"], row["options"].split(",")[0]) == ("gt", "backbone=cpn")
    assert "no backbone vgg; there are hrnet_32, hrnet_48, cpn" in refused(
        *asked(prepared, tmp_path, "--backbone", "vgg")
    )


def test_crops_that_are_not_there_are_refused_with_the_command_that_makes_them(prepared: Path, tmp_path: Path) -> None:
    message = refused(*asked(prepared, tmp_path, "--option", "stored_crops=true"))
    assert "--crop poseformer --size 192x256" in message
    assert not (tmp_path / "leaderboard.csv").exists()


def test_the_official_pickles_alone_score_as_the_archive_does(prepared: Path, tmp_path: Path) -> None:
    pickles, made = prepared / "labels" / "poseformer", tmp_path / "made"
    done(*asked(prepared, tmp_path))
    done(*asked(made, tmp_path, "--pickles", pickles, "--images", prepared / "images"))
    with (tmp_path / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    for figure in ("mpjpe_mm", "p_mpjpe_mm", "mpjve_mm"):
        assert float(rows[1][figure]) == pytest.approx(float(rows[0][figure]), abs=1e-4)
    found = [
        pose_array(read_predictions(tmp_path / row["run"] / "predictions.parquet").table, PREDICTION_COLUMN)
        for row in rows
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-3)
    done(*asked(made, tmp_path, "--detections", "gt"))  # other detections, in the pickles' boxes
    words = ("--epochs", 1, "--validate-on", "none", "--pickles", pickles, "--images", prepared / "images")
    done(*trained(made, tmp_path, *words))


def test_data_or_pickles_are_needed(prepared: Path, tmp_path: Path) -> None:
    words = ("bench", "--model", "martinez", "--untrained", "--runs", tmp_path)
    for more, message in (
        ((), "give --data FOLDER, or --pickles FOLDER"),
        (("--data", tmp_path / "nowhere"), "does not exist"),
        (("--data", prepared, "--images", prepared), "--images goes with --pickles"),
    ):
        result = h36m(*words, *more)
        assert result.exit_code == 2
        assert message in result.stderr


def trained(prepared: Path, runs: Path, *more: object) -> tuple[object, ...]:
    few = ("--every", EVERY, "--train-subjects", "S1", "--test-subjects", "S9", "--device", "cpu", "--batch-size", 8)
    return ("train", "--model", "ca-poseformer", "--data", prepared, "--runs", runs, *few, *more)


@pytest.mark.slow
def test_training_chooses_its_epoch_by_the_score_that_a_bench_gives(prepared: Path, tmp_path: Path) -> None:
    said = done(*trained(prepared, tmp_path, "--epochs", 2))
    folder = tmp_path / "train-ca-poseformer-cpn"
    assert f"wrote {folder / 'checkpoint_best.pt'}" in said
    best = torch.load(folder / "checkpoint_best.pt", weights_only=True)
    done(
        *(
            word
            for word in asked(prepared, tmp_path, "--weights", folder / "checkpoint_best.pt")
            if word != "--untrained"
        )
    )
    with (tmp_path / "leaderboard.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["mpjpe_mm"]) == pytest.approx(best["error"], abs=0.01)
    assert 'detections = "cpn"' in (folder / "train.toml").read_text()


def test_training_starts_from_the_published_backbone(prepared: Path, tmp_path: Path) -> None:
    published = PoseHRNet(2)
    torch.save(published.state_dict(), tmp_path / "coco.pth")
    done(*trained(prepared, tmp_path, "--epochs", 1, "--start", tmp_path / "coco.pth", "--validate-on", "none"))
    content = torch.load(tmp_path / "train-ca-poseformer-cpn" / "checkpoint_last.pt", weights_only=True)
    assert torch.equal(content["state_dict"]["backbone.conv1.weight"], published.conv1.weight)


def test_a_recipe_has_only_what_the_paper_has(prepared: Path, tmp_path: Path) -> None:
    assert "the recipe of ca-poseformer has no clip_norm" in refused(*trained(prepared, tmp_path, "--clip-norm", 1))


def test_training_takes_the_frames_that_are_there(prepared: Path, synthetic_data: Path, rows: PoseFormerRows) -> None:
    assert len(rows_with_frames(rows, prepared)) == len(rows)
    with pytest.raises(H36MError, match=f"none of the {len(rows)} frames is there; run `h36m extract RAW"):
        rows_with_frames(rows, synthetic_data)


@pytest.mark.slow
def test_cached_features_leave_the_training_as_it_is_and_are_made_once(prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for folder in ("images", "labels", "detections"):
        (data / folder).symlink_to(prepared / folder)
    done(*trained(data, tmp_path, "--epochs", 2, "--name", "plain"))
    done(*trained(data, tmp_path, "--epochs", 1, "--name", "cached", "--cache-features"))
    made = {path: path.stat().st_mtime_ns for path in (data / "features").rglob("*.npy")}
    assert len(made) == 2 * 2 * 4  # training and test frames, both sides, four levels
    done(*trained(data, tmp_path, "--epochs", 2, "--name", "cached", "--cache-features"))
    assert {path: path.stat().st_mtime_ns for path in (data / "features").rglob("*.npy")} == made
    logs = []
    for name in ("plain", "cached"):
        with (tmp_path / name / "log.csv").open() as file:
            logs.append([(float(row["train_loss"]), float(row["validation_mpjpe_mm"])) for row in csv.DictReader(file)])
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


def test_features_that_do_not_fit_the_disk_are_refused(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for folder in ("images", "labels", "detections"):
        (data / folder).symlink_to(prepared / folder)
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "GB of features do not fit into 0.0 GB" in refused(*trained(data, tmp_path, "--cache-features"))
    assert not list((data / "features").iterdir())
