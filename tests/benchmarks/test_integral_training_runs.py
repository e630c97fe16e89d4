"""`h36m train` of integral and direct regression: frames of DATA and MPII's people, and a run that goes on."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from integral_goldens import golden
from synthetic_data import done, refused

from h36m_toolbox.models import create_model

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = ("--layers", 18, "--patch", "64x64")
NARROW = ("--option", "deconv_channels=8")
PEOPLE = 5  # of the golden's list


@pytest.fixture(scope="module")
def mpii(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MPII's folder with the golden's people, in noise."""
    folder = golden("mpii_conversion").write_files(tmp_path_factory.mktemp("mpii"))
    (folder / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (72, 128, 3), dtype=np.uint8)
    for person in json.loads((folder / "annot" / "train.json").read_text()):
        cv2.imwrite(str(folder / "images" / person["image"]), cv2.resize(noise, (1280, 720)))
    return folder


def words(data: Path, runs: Path, *more: object, model: str = "integral") -> tuple[object, ...]:
    common = ("--data", data, "--runs", runs, "--device", "cpu", "--name", "run", "--batch-size", 4)
    return ("train", "--model", model, *common, *OPTIONS, *more)


def checkpoint(runs: Path) -> dict:
    return torch.load(runs / "run" / "checkpoint_last.pt", weights_only=True)


@pytest.mark.parametrize(("model", "options"), [("integral", NARROW), ("integral-direct", ())])
def test_a_run_learns_from_both_data_sets_goes_on_and_is_benched(
    model: str, options: tuple[str, ...], prepared: Path, mpii: Path, tmp_path: Path
) -> None:
    common = ("--mpii", mpii, "--every", 32, *options)
    done(*words(prepared, tmp_path, *common, "--epochs", 1, "--validate-on", "none", model=model))
    assert checkpoint(tmp_path)["step"] == 2 * PEOPLE // 4
    said = done(*words(prepared, tmp_path, *common, "--epochs", 2, model=model))
    assert "validation" in said
    assert [row["epoch"] for row in checkpoint(tmp_path)["epochs"]] == [1, 2]
    weights = ("--weights", tmp_path / "run" / "checkpoint_best.pt", "--every", 64, *options)
    done("bench", "--model", model, "--data", prepared, "--runs", tmp_path, "--device", "cpu", *OPTIONS, *weights)
    assert (tmp_path / "run" / "curves.png").exists()


def test_what_a_run_wrote_asks_for_it_again(prepared: Path, mpii: Path, tmp_path: Path) -> None:
    once = (*NARROW, "--mpii", mpii, "--epochs", 1, "--validate-on", "none")
    done(*words(prepared, tmp_path / "one", *once))
    config = ("--config", tmp_path / "one" / "run" / "train.toml")
    place = ("--data", prepared, "--device", "cpu", "--name", "run", "--runs", tmp_path / "two")
    done("train", *config, *place, "--mpii", mpii, "--validate-on", "none")
    one, two = (checkpoint(tmp_path / name) for name in ("one", "two"))
    assert one["run"] == two["run"]
    assert one["epochs"][0]["train_loss"] == two["epochs"][0]["train_loss"]


def test_human36m_alone_is_learned_from_too(prepared: Path, tmp_path: Path) -> None:
    done(*words(prepared, tmp_path, *NARROW, "--every", 32, "--epochs", 1, "--validate-on", "none"))
    assert "sizes" in checkpoint(tmp_path)["run"]


def test_training_starts_from_imagenet(prepared: Path, mpii: Path, tmp_path: Path) -> None:
    torch.save(create_model("integral", layers=34).backbone.state_dict(), tmp_path / "resnet34.pth")
    start = ("--mpii", mpii, "--start", tmp_path / "resnet34.pth", "--epochs", 1, "--validate-on", "none")
    assert "no weights of this ResNet" in refused(*words(prepared, tmp_path / "runs", *start))


def test_what_a_training_cannot_take_is_refused(prepared: Path, mpii: Path, tmp_path: Path) -> None:
    assert "depths in mm" in refused(*words(prepared, tmp_path, "--option", "depth_in=image"))
    assert "has no decay" in refused(*words(prepared, tmp_path, "--decay", 0.5))
    assert "train.json: No such file" in refused(*words(prepared, tmp_path, "--mpii", prepared))
    lifter = ("train", "--model", "semgcn", "--data", prepared, "--runs", tmp_path, "--mpii", mpii)
    assert "semgcn learns from Human3.6M alone" in refused(*lifter)
    assert not list(tmp_path.glob("*/checkpoint_last.pt"))


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CHALL_H80K with the golden's poses in noise, and 2D joints of Train and Val beside it."""
    case = golden("challenge_db")
    folder = case.write_files(tmp_path_factory.mktemp("challenge"))
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    for part in ("Train", "Val"):
        if part == "Val":
            shutil.copytree(folder / "Train" / "POSE", folder / part / "POSE", dirs_exist_ok=True)
        (folder / part / "IMG").mkdir(parents=True)
        points, visible = (case.given(f"train_{name}") for name in ("kpts", "vis"))
        for number in range(1, len(points) + 1):
            cv2.imwrite(str(folder / part / "IMG" / f"{number:05d}.jpg"), cv2.resize(noise, (1000, 1000)))
        seen = [{"kpts": kpts, "vis": vis} for kpts, vis in zip(points, visible, strict=True)]
        (folder / f"{part}.pkl").write_bytes(pickle.dumps(seen))
    return folder


def test_the_challenge_takes_the_place_of_human36m(mpii: Path, challenge: Path, tmp_path: Path) -> None:
    common = ("train", "--model", "integral", "--runs", tmp_path, "--device", "cpu", *OPTIONS, *NARROW, "--name", "run")
    sets = ("--challenge", challenge, "--mpii", mpii, "--batch-size", 4)
    seen = ("--keypoints", challenge / "Train.pkl")
    assert "give --keypoints" in refused(*common, *sets)
    assert "depth_in=mm" in refused(*common, *sets, *seen, "--option", "depth_in=mm")
    done(*common, *sets, *seen, "--epochs", 1)
    said = done(*common, *sets, *seen, "--val-keypoints", challenge / "Val.pkl", "--epochs", 2)
    assert "validation" in said
    assert [row["epoch"] for row in checkpoint(tmp_path)["epochs"]] == [1, 2]
    assert "batch_size = 4" in (tmp_path / "run" / "train.toml").read_text()
    weights = ("--weights", tmp_path / "run" / "checkpoint_last.pt", "--keypoints", challenge / "Val.pkl")
    scored = done("challenge", challenge, *weights, *OPTIONS, *NARROW, "--device", "cpu", "--out", tmp_path / "val")
    best = json.loads((tmp_path / "val" / "scores.json").read_text())["mpjpe_mm"]
    assert f"{best:.2f} mm" in scored
    assert checkpoint(tmp_path)["epochs"][-1]["validation_mpjpe_mm"] == pytest.approx(best, rel=1e-5)
