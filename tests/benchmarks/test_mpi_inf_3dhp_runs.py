"""`h36m bench --dataset mpi-inf-3dhp`: runs on a synthetic test set, prepared through the CLI."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from h36m_toolbox.benchmarks.mpi_inf_3dhp.files import read_inference_mat, read_test_predictions
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import PELVIS, TEST_PROTOCOLS
from h36m_toolbox.benchmarks.runs.folders import flaw_of
from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.benchmarks.standings.rankings import Choice, leaderboard_of
from h36m_toolbox.cli import main
from h36m_toolbox.models import ca_poseformer, create_model
from h36m_toolbox.models.hrnet import HRNet
from h36m_toolbox.models.poseformer_3dhp import TestCrops, rows_of_test_set
from h36m_toolbox.models.poseformer_data import batches
from h36m_toolbox.models.poseformer_inputs import crop_mirror, poses_of
from h36m_toolbox.models.test_time import flip_tested
from h36m_toolbox.mpi_inf_3dhp.annotations import read_test_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import open_archive
from h36m_toolbox.mpi_inf_3dhp.frames import FrameRecipe, extract_views
from h36m_toolbox.mpi_inf_3dhp.labels import read_test_labels
from h36m_toolbox.mpi_inf_3dhp.person_views import person_views
from h36m_toolbox.mpi_inf_3dhp.preparation import write_format
from h36m_toolbox.mpi_inf_3dhp.sequences import CAMERA_SETS, image_size
from h36m_toolbox.mpi_inf_3dhp.synthetic import SyntheticPlan, write_synthetic_3dhp
from h36m_toolbox.skeletons import MPI_INF_3DHP_17
from h36m_toolbox.storage.safe_pickle import read_object_npz

GOLDENS = Path(__file__).parents[1] / "data" / "mpi_inf_3dhp"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpi-inf-3dhp")
    plan = SyntheticPlan(train=(), frames=3)
    write_synthetic_3dhp(folder / "raw", np.random.default_rng(0), plan)
    write_format("parquet", open_archive(folder / "raw"), folder / "data")
    for recipe in (FrameRecipe(), FrameRecipe(crop=True)):
        extract_views(open_archive(folder / "raw"), folder / "data", CAMERA_SETS["vnect"], recipe)
    return folder / "data"


def bench(data: Path, runs: Path, *words: str) -> Result:
    where = ("--data", str(data), "--runs", str(runs), "--dataset", "mpi-inf-3dhp", "--device", "cpu")
    return CliRunner().invoke(main, ["bench", *where, *words])


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_a_lifter_leaves_a_sealed_run_with_the_official_files_and_a_row(data: Path, tmp_path: Path, model: str) -> None:
    result = bench(data, tmp_path, "--model", model, "--untrained")
    assert result.exit_code == 0, result.output
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    folder = tmp_path / row.run
    assert flaw_of(folder) == ""
    assert (row.protocol, row.mean, row.split, row.frames, row.official) == ("mpi-inf-3dhp", "frame", "test", 12, False)
    (ranking,) = leaderboard_of(tmp_path, Choice()).rankings
    assert ranking.entries[0].place == "1"

    matlab, ours = (
        read_inference_mat(folder / "inference_data.mat"),
        read_test_predictions(folder / "predictions.parquet"),
    )
    assert all(np.array_equal(matlab[name], ours[name]) for name in ours)
    said = json.loads((folder / "report.json").read_text())
    assert said["inputs"]["joint_mapping"]["head"] == "halfway between Thorax and Head"
    with (folder / "protocols.csv").open() as file:
        protocols = {line["protocol"]: line for line in csv.DictReader(file)}
    assert list(protocols) == list(TEST_PROTOCOLS)
    assert float(protocols["mpi-inf-3dhp"]["mpjpe"]) == row.mpjpe_mm
    assert protocols["mpi-inf-3dhp-annot3"]["mpjpe"] != protocols["mpi-inf-3dhp"]["mpjpe"]

    again = CliRunner().invoke(main, ["eval", str(folder), "--data", str(data), "--protocol", "mpi-inf-3dhp"])
    assert f"{row.mpjpe_mm:.2f}" in again.output
    shown = CliRunner().invoke(main, ["report", str(folder), "--data", str(data)])
    assert "is of MPI-INF-3DHP" in shown.output


def test_a_named_departure_has_a_row_of_its_own_and_a_finished_run_is_kept(data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--untrained", "--protocol", "mpi-inf-3dhp-d3dp", "--resume")
    assert "wrote" in bench(data, tmp_path, *words).output
    assert "kept" in bench(data, tmp_path, *words).output
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    assert (row.protocol, row.mean) == ("mpi-inf-3dhp-d3dp", "sequence")


def test_an_official_prediction_file_becomes_a_run_with_the_official_figures(tmp_path: Path) -> None:
    data, runs = tmp_path / "data", tmp_path / "runs"
    write_format("parquet", open_archive(GOLDENS / "test_set"), data)
    path = GOLDENS / "predictions" / "inference_data_a.mat"
    words = ["eval", str(path), "--data", str(data), "--protocol", "mpi-inf-3dhp", "--runs", str(runs)]
    result = CliRunner().invoke(main, [*words, "--model", "stranger"])
    assert result.exit_code == 0, result.output
    (row,) = read_leaderboard(runs / "leaderboard.csv")
    assert (row.model, row.detections, row.frames) == ("stranger", "unknown", 235)
    assert (f"{row.mpjpe_mm:.3f}", f"{row.pck150:.3f}", f"{row.auc:.3f}") == ("149.435", "56.960", "26.441")
    again = ["eval", str(runs / row.run), "--data", str(data), "--runs", str(runs), "--protocol", "mpi-inf-3dhp-annot3"]
    assert CliRunner().invoke(main, again).exit_code == 0
    _, of_annot3 = read_leaderboard(runs / "leaderboard.csv")
    assert (f"{of_annot3.mpjpe_mm:.3f}", of_annot3.model) == ("153.529", "stranger")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "semgcn", "--detections", "cpn"), "its 2D ground truth only"),
        (("--model", "semgcn", "--every", "5"), "its whole test set"),
        (("--model", "semgcn", "--split", "train"), "on its test set"),
        (("--model", "semgcn", "--protocol", "semgcn"), "MPI-INF-3DHP has no protocol 'semgcn'"),
        (("--model", "semgcn", "--flip"), "without --flip"),
        (("--model", "martinez-tf"), "no labels of the train split"),
    ],
)
def test_what_the_data_set_does_not_have_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    result = bench(data, tmp_path / "runs", *words, "--untrained")
    assert result.exit_code != 0
    assert told in result.output
    assert not (tmp_path / "runs").exists()


def test_labels_of_the_other_data_set_are_named(data: Path, tmp_path: Path) -> None:
    words = ["bench", "--model", "semgcn", "--data", str(data), "--runs", str(tmp_path), "--untrained"]
    result = CliRunner().invoke(main, words)
    assert "holds labels of mpi-inf-3dhp, none of human3.6m" in result.output


# ContextPose


def test_a_true_joint_lies_in_its_view_where_its_pixel_does_and_comes_back_from_the_world(data: Path) -> None:
    truth = read_test_labels(data)
    views = person_views(data, truth, 96)
    pixels = np.concatenate([sequence.image[sequence.valid] for sequence in truth])
    poses = np.concatenate([sequence.camera[sequence.valid] for sequence in truth])
    world = np.stack(
        [views.cameras[name].camera_to_world(pose) for name, pose in zip(views.sequences, poses, strict=True)]
    )
    np.testing.assert_allclose(views.in_camera(world, slice(0, len(views))), poses, atol=1e-9)
    np.testing.assert_allclose(views.pelvis, world[:, PELVIS], atol=1e-9)
    head, ankles = (MPI_INF_3DHP_17.indices(names) for names in (("head_top",), ("left_ankle", "right_ankle")))
    assert (world[:, head, 2] - world[:, ankles, 2] > 1000).all()  # z is up
    for row in range(len(views)):
        view, box = views.load(row), views.boxes[row]
        seen = np.append(world[row], np.ones((17, 1)), axis=1) @ view.projections[0].T.astype(np.float64)
        expected = (pixels[row] - box[:2]) * 96 / (box[2] - box[0])
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], expected, atol=0.02)  # float32 matrices
        assert (expected > 0).all() and (expected < 96).all()
        assert view.images.shape == (1, 96, 96, 3)


def test_contextpose_looks_at_frames_and_limb_lengths(data: Path, tmp_path: Path) -> None:
    words = ("--model", "contextpose", "--untrained", "--layers", "18", "--option", "image_px=64")
    small = (*words, "--option", "voxels=16")
    assert "no limb-length statistics" in bench(data, tmp_path, *small).output
    limbs = tmp_path / "limbs.h5"
    with h5py.File(limbs, "w") as file:
        file["mean"], file["std"] = np.full(16, 300.0), np.full(16, 30.0)
    result = bench(data, tmp_path / "runs", *small, "--stats", str(limbs))
    assert result.exit_code == 0, result.output
    (row,) = read_leaderboard(tmp_path / "runs" / "leaderboard.csv")
    assert (row.detections, row.frames) == ("pelvis-gt", 12)
    poses = read_test_predictions(tmp_path / "runs" / row.run / "predictions.parquet")
    assert not poses["TS1"][:, PELVIS].any()
    assert np.abs(poses["TS1"]).max() < 2500  # within the volume


def test_models_of_several_views_and_missing_frames_are_refused(data: Path, tmp_path: Path) -> None:
    assert "needs several views" in bench(data, tmp_path, "--model", "volumetric", "--untrained").output
    bare = tmp_path / "data"
    shutil.copytree(data / "mpi-inf-3dhp" / "labels", bare / "mpi-inf-3dhp" / "labels")
    result = bench(bare, tmp_path, "--model", "contextpose", "--untrained")
    assert "TS1_000001.jpg: no such file, nor 11 more" in result.output
    assert f"h36m extract RAW --out {bare}`" in result.output
    result = bench(bare, tmp_path, "--model", "ca-poseformer", "--option", "variant=3dhp", "--untrained")
    assert f"h36m extract RAW --out {bare} --crop poseformer`" in result.output


# Context-Aware PoseFormer


@pytest.fixture
def narrow_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one takes a second a frame."""
    monkeypatch.setattr(ca_poseformer, "backbone", lambda _: HRNet(2))


def test_rows_of_the_variant_are_those_of_the_published_npz() -> None:
    archive = open_archive(GOLDENS / "test_set")
    truth = [read_test_annotations(item.annotations, item.name) for item in archive.test]
    published = read_object_npz(GOLDENS / "lifting" / "data_test_3dhp.npz")["data"]
    for sequence in truth:
        theirs = published[sequence.sequence]
        mine = rows_of_test_set([sequence])
        np.testing.assert_allclose(mine.joints_crop, theirs["data_2d_crop"][sequence.valid], atol=2e-3, rtol=0)
        true = theirs["data_3d"][sequence.valid]
        np.testing.assert_allclose(mine.targets, true - true[:, [PELVIS]], atol=1e-3, rtol=0)
        width, height = image_size(sequence.sequence)
        screen = theirs["data_2d"][sequence.valid] / width * 2 - [1, height / width]
        np.testing.assert_allclose(mine.joints_2d, screen, atol=1e-6, rtol=0)


@pytest.mark.usefixtures("narrow_network")
def test_the_variant_is_flip_tested_by_its_own_joints_and_leaves_the_pelvis_at_the_origin(
    data: Path, tmp_path: Path
) -> None:
    words = ("--model", "ca-poseformer", "--option", "variant=3dhp", "--untrained")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model("ca-poseformer", variant="3dhp").eval()
    result = bench(data, tmp_path, *words)
    assert result.exit_code == 0, result.output
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    found = np.concatenate([*read_test_predictions(tmp_path / row.run / "predictions.parquet").values()])
    crops = TestCrops(data, read_test_labels(data))
    (batch,) = batches(crops.rows, crops, [np.arange(len(crops.rows))])
    with torch.inference_mode():
        mirror = crop_mirror(MPI_INF_3DHP_17)
        expected = flip_tested(lambda each: poses_of(model, each, "hrnet_32"), mirror)(batch)
    expected = expected.clone()
    expected[:, PELVIS] = 0
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_crops_from_disk_are_those_of_whole_frames_compressed_once_more(data: Path) -> None:
    truth = read_test_labels(data)
    stored, cut = TestCrops(data, truth), TestCrops(data, truth, stored=False)
    for row in range(len(stored.rows)):
        box = stored.rows.boxes[row]
        difference = stored.crop(row, box).astype(int) - cut.crop(row, box)
        assert np.abs(difference).mean() < 4


@pytest.mark.parametrize(
    ("dataset", "options", "told"),
    [
        ("mpi-inf-3dhp", (), r"is of human3.6m, not of mpi-inf-3dhp"),
        ("human3.6m", ("--option", "variant=3dhp"), r"is of mpi-inf-3dhp, not of human3.6m"),
    ],
)
def test_each_variant_is_benched_on_its_own_data_set(
    data: Path, prepared: Path, tmp_path: Path, dataset: str, options: tuple[str, ...], told: str
) -> None:
    where = ("--data", str(data if dataset == "mpi-inf-3dhp" else prepared), "--runs", str(tmp_path))
    words = ("bench", "--model", "ca-poseformer", "--dataset", dataset, *where, *options, "--untrained")
    assert told in CliRunner().invoke(main, words).output
