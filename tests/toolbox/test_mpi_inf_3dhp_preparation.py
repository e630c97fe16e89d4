"""What h36m makes of MPI-INF-3DHP: the label table, the traded npz files, crops, frames; by function and by command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import simplejpeg
from click.testing import CliRunner, Result

from h36m_toolbox.cli import main
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import read_test_annotations, read_train_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import Archive, open_archive
from h36m_toolbox.mpi_inf_3dhp.crops import (
    crop_affines,
    crop_camera,
    crop_camera_of_test_set,
    crop_coordinates,
    crop_image,
)
from h36m_toolbox.mpi_inf_3dhp.frames import FrameRecipe, extract_views
from h36m_toolbox.mpi_inf_3dhp.labels import (
    label_poses,
    label_schema,
    labels_path,
    read_label_views,
    read_test_labels,
    write_labels,
)
from h36m_toolbox.mpi_inf_3dhp.lifting_npz import write_lifting_npz
from h36m_toolbox.mpi_inf_3dhp.sequences import CAMERA_SETS, TRAIN_RECORDINGS, Recording
from h36m_toolbox.mpi_inf_3dhp.synthetic import SyntheticPlan, write_synthetic_3dhp
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.storage.safe_pickle import read_object_npz

GOLDENS = Path(__file__).parents[1] / "data" / "mpi_inf_3dhp"
CROPS = json.loads((GOLDENS / "crops" / "crops.json").read_text())


@pytest.fixture(scope="module")
def archive() -> Archive:
    return open_archive(GOLDENS)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpi") / "raw"
    write_synthetic_3dhp(folder, np.random.default_rng(3), SyntheticPlan(cameras=(0, 8), image_side=64))
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_label_table_holds_the_annotations_bit_for_bit(tmp_path: Path, archive: Archive) -> None:
    for split, views in (("train", 16), ("test", 6)):
        report = write_labels(archive, tmp_path, split)
        assert report is not None
        assert (report.views, report.damaged, report.cut) == (views, (), {})
    truth = {item.sequence: item for item in read_test_labels(tmp_path)}
    for sequence in archive.test:
        original, stored = read_test_annotations(sequence.annotations, sequence.name), truth[sequence.name]
        for name in ("image", "camera", "universal", "valid", "activity"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(original, name))
    views_17 = read_train_annotations(archive.train[0].annotations, CAMERA_SETS["vnect"])
    for table, (camera, view) in zip(read_label_views(tmp_path, "train"), views_17.items(), strict=False):
        assert set(table.column("camera").to_pylist()) == {camera}
        np.testing.assert_array_equal(label_poses(table, "joints_3d_camera", MPI_INF_3DHP_28), view.camera)
        selected = MPI_INF_3DHP_28.select(view.universal, MPI_INF_3DHP_17.joints)
        np.testing.assert_array_equal(label_poses(table, "joints_3d_universal"), selected)


def test_the_label_file_opens_in_pandas_and_tells_joints_rates_and_cameras(tmp_path: Path, archive: Archive) -> None:
    write_labels(archive, tmp_path, "train", cameras=(0, 8))
    frame = pd.read_parquet(labels_path(tmp_path, "train"))
    assert list(frame.columns) == label_schema("train").names
    assert sorted(frame["camera"].unique()) == [0, 8]
    assert len(frame["joints_2d"][0]) == 28 * 2
    facts = json.loads(pq.read_metadata(labels_path(tmp_path, "train")).metadata[b"h36m"])
    assert facts["fps"] == {"S1/Seq1": 25, "S1/Seq2": 50}
    assert facts["joints"] == list(MPI_INF_3DHP_28.joints)
    assert sorted(facts["cameras"]["S1/Seq1"]) == ["0", "8"]


def test_a_stride_thins_training_rows_only(tmp_path: Path, archive: Archive) -> None:
    write_labels(archive, tmp_path, "train", cameras=(1,), every=4)
    write_labels(archive, tmp_path, "test", every=4)
    (first, _) = read_label_views(tmp_path, "train")
    assert first.column("frame").to_pylist() == [0, 4, 8, 12]
    assert [len(table) for table in read_label_views(tmp_path, "test")] == [40, 55, 48, 66, 34, 72]


def test_rows_beyond_the_published_frame_count_are_cut_and_reported(
    tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRAIN_RECORDINGS, "S1/Seq1", Recording(9, 25))
    report = write_labels(archive, tmp_path, "train", cameras=(0,))
    assert report is not None
    assert report.cut == {"S1/Seq1": 14}
    assert "14 annotated rows cut to 9" in "\n".join(report.lines())
    assert [len(table) for table in read_label_views(tmp_path, "train")] == [9, 10]


def test_videos_shorter_than_their_poses_are_reported_once_extracted(tmp_path: Path, archive: Archive) -> None:
    extract_views(archive, tmp_path, (0,))
    report = write_labels(archive, tmp_path, "train", cameras=(0,))
    assert report is not None
    assert report.short_videos == {"s_01_seq_01_ca_00": (14, 12)}
    assert "s_01_seq_01_ca_00: 14 poses, 12 video frames" in report.lines()


def test_a_damaged_sequence_is_left_out_and_named(tmp_path: Path) -> None:
    shutil.copytree(GOLDENS / "train", tmp_path / "raw")
    (tmp_path / "raw" / "S1" / "Seq1" / "annot.mat").write_bytes(b"x" * 300)
    report = write_labels(open_archive(tmp_path / "raw"), tmp_path, "train")
    assert report is not None
    assert report.views == 8
    assert len(report.damaged) == 1
    assert "Seq1/annot.mat" in report.damaged[0]


def test_labels_that_are_not_there_or_damaged_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="run `h36m labels RAW"):
        read_test_labels(tmp_path)
    path = labels_path(tmp_path, "test")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(H36MError, match="cannot be read as Parquet"):
        read_test_labels(tmp_path)


def assert_same_nested(found: object, expected: object) -> None:
    """Dicts and lists alike, numbers within the rounding of one sum."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert set(found) == set(expected)
        for key, value in expected.items():
            assert_same_nested(found[key], value)
    elif isinstance(expected, list):
        assert isinstance(found, list)
        for mine, theirs in zip(found, expected, strict=True):
            assert_same_nested(mine, theirs)
    else:
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_traded_npz_files_equal_the_published_scripts(tmp_path: Path, archive: Archive, split: str) -> None:
    path = tmp_path / f"data_{split}_3dhp.npz"
    write_lifting_npz(archive, path, split, crops="published")
    expected = read_object_npz(GOLDENS / "lifting" / f"data_{split}_3dhp.npz")["data"]
    assert_same_nested(read_object_npz(path)["data"], expected)
    assert_same_nested(np.load(path, allow_pickle=True)["data"].item(), expected)


def test_corrected_key_points_fit_the_published_pictures(tmp_path: Path, archive: Archive) -> None:
    write_lifting_npz(archive, tmp_path / "x.npz", "train")
    views = read_object_npz(tmp_path / "x.npz")["data"]["S1 Seq1"][0]
    pictures = np.load(GOLDENS / "crops" / "crops.npz")
    for camera in ("0", "4"):
        expected = pictures[f"S1_Seq1_cam{camera}_frame000001__kp_crop_image"]
        np.testing.assert_allclose(views[camera]["data_2d_crop"][0], expected, rtol=1e-12)


def test_the_published_row_mix_up_is_as_large_as_stated(archive: Archive) -> None:
    stated = json.loads((GOLDENS / "crops" / "intrinsics_row_mismatch.json").read_text())["values"]
    for sequence in archive.train:
        for camera, view in read_train_annotations(sequence.annotations, CAMERA_SETS["vnect"]).items():
            key = f"{sequence.name.replace('/', ' ')} cam{camera}"
            image, poses = (
                MPI_INF_3DHP_28.select(array, MPI_INF_3DHP_17.joints) for array in (view.image, view.universal)
            )
            published, corrected = (
                crop_coordinates(crop_affines(crop_camera(camera, by_place), poses), image)
                for by_place in (True, False)
            )
            distances = np.linalg.norm(published - corrected, axis=-1)
            np.testing.assert_allclose([distances.mean(), distances.max()], stated[key], atol=5e-4)  # three decimals


def test_other_lifting_papers_npz_has_no_crops(tmp_path: Path, archive: Archive) -> None:
    write_lifting_npz(archive, tmp_path / "x.npz", "test", crops="none")
    assert list(read_object_npz(tmp_path / "x.npz")["data"]["TS3"]) == ["data_2d", "data_3d", "valid"]
    with pytest.raises(H36MError, match="no crops 'exact'"):
        write_lifting_npz(archive, tmp_path / "y.npz", "test", crops="exact")


@pytest.mark.parametrize("tag", CROPS)
def test_crops_are_the_published_ones(archive: Archive, tag: str) -> None:
    pictures = np.load(GOLDENS / "crops" / "crops.npz")
    if tag.startswith("TS"):
        (sequence,) = (item for item in archive.test if item.name == tag[:3])
        poses, camera = read_test_annotations(sequence.annotations, tag[:3]).universal, crop_camera_of_test_set(tag[:3])
    else:
        number = int(tag.split("_")[2].removeprefix("cam"))
        view = read_train_annotations(archive.train[0].annotations, (number,))[number]
        poses, camera = MPI_INF_3DHP_28.select(view.universal, MPI_INF_3DHP_17.joints), crop_camera(number)
    (affine,) = crop_affines(camera, poses[:1])
    np.testing.assert_array_equal(affine, pictures[f"{tag}__M_image"])
    difference = crop_image(pictures[f"{tag}__full_bgr"], affine).astype(int) - pictures[f"{tag}__crop_bgr"]
    # OpenCV's fixed-point interpolation changed between versions, which shows at the edges of flat areas only.
    assert np.abs(difference).max() <= 5
    assert np.abs(difference).mean() < 0.01


def test_frames_are_named_from_one_and_are_the_videos_own(tmp_path: Path, archive: Archive) -> None:
    outcomes = extract_views(archive, tmp_path, (0, 8), FrameRecipe(every=3))
    assert [(outcome.folder.name, outcome.state, outcome.images) for outcome in outcomes] == [
        ("s_01_seq_01_ca_00", "written", 4),
        ("s_01_seq_01_ca_08", "written", 4),
        ("s_01_seq_02_ca_00", "written", 4),
        ("s_01_seq_02_ca_08", "written", 4),
    ]
    for sequence, camera in ((1, 0), (1, 8), (2, 8)):
        folder = tmp_path / "mpi-inf-3dhp" / "images" / f"s_01_seq_{sequence:02d}_ca_{camera:02d}"
        for frame in (0, 3, 6, 9):
            picture = simplejpeg.decode_jpeg((folder / f"{folder.name}_{frame + 1:06d}.jpg").read_bytes(), "BGR")
            patch = 2 * 1 + sequence + camera  # the colour of the goldens' patch
            expected = (20 + 13 * frame) % 236 + 10, (40 + 37 * patch) % 200 + 28, 220 - (7 * frame) % 180
            np.testing.assert_allclose(picture[2:6, 2:6].mean(axis=(0, 1)), expected, atol=8)


def test_complete_views_are_kept_and_others_made_again(tmp_path: Path, synthetic: Path) -> None:
    archive = open_archive(synthetic)
    first = extract_views(archive, tmp_path, (0,))
    assert {outcome.state for outcome in first} == {"written"}
    assert {outcome.state for outcome in extract_views(archive, tmp_path, (0,))} == {"kept"}
    next(first[0].folder.glob("*.jpg")).unlink()
    assert [outcome.state for outcome in extract_views(archive, tmp_path, (0,))] == ["written"] + ["kept"] * 6
    assert {outcome.state for outcome in extract_views(archive, tmp_path, (0,), FrameRecipe(every=2))} == {"written"}


def test_test_images_are_copied_as_they_are(tmp_path: Path, synthetic: Path) -> None:
    extract_views(open_archive(synthetic), tmp_path, (0,))
    original = synthetic / "mpi_inf_3dhp_test_set" / "TS6" / "imageSequence" / "img_000005.jpg"
    copy = tmp_path / "mpi-inf-3dhp" / "images" / "TS6" / "TS6_000005.jpg"
    assert copy.read_bytes() == original.read_bytes()


def test_a_gap_in_the_test_images_is_reported(tmp_path: Path, synthetic: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(synthetic / "mpi_inf_3dhp_test_set", raw)
    (raw / "TS2" / "imageSequence" / "img_000008.jpg").unlink()
    for path in (raw / "TS4" / "imageSequence").iterdir():
        path.unlink()
    outcomes = {outcome.folder.name: outcome for outcome in extract_views(open_archive(raw), tmp_path, ())}
    assert (outcomes["TS2"].state, outcomes["TS2"].images) == ("written", 7)
    assert "img_000008.jpg: is not there, with 11 images" in outcomes["TS2"].problem
    assert outcomes["TS4"].state == "failed"
    assert not outcomes["TS1"].problem


def test_a_video_that_cannot_be_decoded_stops_nobody_else(tmp_path: Path, synthetic: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(synthetic, raw)
    (raw / "mpi_inf_3dhp" / "S1" / "Seq1" / "imageSequence" / "video_0.avi").write_bytes(b"nothing")
    failed, *others = extract_views(open_archive(raw), tmp_path, (0, 8))
    assert failed.state == "failed"
    assert "video_0.avi" in failed.problem
    assert not failed.folder.exists()
    assert {outcome.state for outcome in others} == {"written"}


def test_full_size_pictures_are_cropped_and_small_ones_refused(tmp_path: Path, synthetic: Path) -> None:
    plan = SyntheticPlan(test=("TS5",), cameras=(8,), frames=2)
    write_synthetic_3dhp(tmp_path / "raw", np.random.default_rng(0), plan)
    outcomes = extract_views(open_archive(tmp_path / "raw"), tmp_path, (8,), FrameRecipe(crop=True))
    assert [(outcome.state, outcome.images) for outcome in outcomes] == [("written", 2), ("written", 2)]
    for outcome in outcomes:
        path = outcome.folder / f"{outcome.folder.name}_000002.jpg"
        assert simplejpeg.decode_jpeg_header(path.read_bytes())[:2] == (256, 192)
        crop = simplejpeg.decode_jpeg(path.read_bytes(), "BGR").astype(int)
        assert (np.abs(crop - crop[2, 2]).sum(axis=-1) > 90).mean() > 0.02  # the figure is in it
    small, *_ = extract_views(open_archive(synthetic), tmp_path, (8,), FrameRecipe(crop=True))
    assert small.state == "failed"
    assert "64 x 64 px, the annotations are for 2048 x 2048" in small.problem


def test_the_doctor_tells_what_data_holds_and_which_view_is_not_as_its_manifest_says(
    tmp_path: Path, synthetic: Path
) -> None:
    data = tmp_path / "data"
    assert run("labels", synthetic, "--out", data, "--format", "parquet", "--jobs", 1).exit_code == 0
    extract_views(open_archive(synthetic), data, (0, 8))
    healthy = run("doctor", data)
    assert healthy.exit_code == 0, healthy.output
    assert "test: 72 label rows, 48 of them evaluated" in healthy.output
    assert any(line.split() == ["TS1", "12", "12", "-"] for line in healthy.output.splitlines())
    (data / "mpi-inf-3dhp" / "images" / "TS3" / "TS3_000004.jpg").unlink()
    sick = run("doctor", data)
    assert sick.exit_code == 1
    assert "TS3 has 11 images, 12 by its manifest" in sick.output


def test_the_synthetic_set_is_the_same_for_the_same_chance(tmp_path: Path) -> None:
    plan = SyntheticPlan(train=("S3/Seq2",), test=("TS2",), cameras=(), frames=3, image_side=64)
    for name in ("a", "b"):
        write_synthetic_3dhp(tmp_path / name, np.random.default_rng(7), plan)
    first, second = (
        read_train_annotations(open_archive(tmp_path / name).train[0].annotations, (0,))[0] for name in ("a", "b")
    )
    np.testing.assert_array_equal(first.camera, second.camera)


def test_a_synthetic_set_takes_the_place_of_nothing_but_another(tmp_path: Path) -> None:
    tiny = SyntheticPlan(train=(), test=("TS5",), frames=2)
    for seed in (0, 1):
        write_synthetic_3dhp(tmp_path, np.random.default_rng(seed), tiny)
    assert [sequence.name for sequence in open_archive(tmp_path).test] == ["TS5"]
    (tmp_path / "mpi_inf_3dhp_test_set" / "SYNTHETIC.txt").unlink()
    with pytest.raises(H36MError, match="is no synthetic set"):
        write_synthetic_3dhp(tmp_path, np.random.default_rng(0), tiny)
    with pytest.raises(H36MError, match="has no sequence TS7"):
        write_synthetic_3dhp(tmp_path / "x", np.random.default_rng(0), SyntheticPlan(test=("TS7",)))


def test_synth_writes_it_and_refuses_options_of_the_other_set(tmp_path: Path) -> None:
    written = run("synth", tmp_path, "--data-set", "mpi-inf-3dhp", "--seed", 4)
    assert "1 training and 6 test sequences" in written.output
    assert len(open_archive(tmp_path).test) == 6
    assert run("synth", tmp_path, "--data-set", "mpi-inf-3dhp", "--frames", 5).exit_code == 2


def test_the_commands_prepare_it_and_score_predictions(tmp_path: Path, synthetic: Path) -> None:
    data, predictions = tmp_path / "data", tmp_path / "predictions.npz"
    labels = run("labels", synthetic, "--out", data, "--format", "parquet", "--format", "lifting", "--jobs", 1)
    assert labels.exit_code == 0, labels.output
    assert "test.parquet: 6 views, 72 rows" in labels.output
    assert "data_train_3dhp.npz: 1 sequences" in labels.output
    truth = read_test_labels(data)
    np.savez(predictions, **{item.sequence: (item.universal - item.universal[:, [14]])[item.valid] for item in truth})
    scored = run("eval", predictions, "--data", data, "--protocol", "mpi-inf-3dhp", "--out", tmp_path / "eval")
    assert scored.exit_code == 0, scored.output
    assert "| All | 48 | 0.00 | 100.00 | 96.77 |" in scored.output
    again = tmp_path / "eval" / "inference_data.mat"
    compared = run("eval", again, "--data", data, "--protocol", "mpi-inf-3dhp-all")
    assert compared.exit_code == 0, compared.output
    assert compared.output.count("| mpi-inf-3dhp") == 8
    report = json.loads((tmp_path / "eval" / "report.json").read_text())
    assert report["sequences"]["TestSeq1"]["pck150"]["Elbow"] == 100
    assert report["inputs"]["predictions_sha256"] == sha256_of(predictions)
    assert not report["official"]
    frames = run("extract", synthetic, "--out", data, "--cameras", "0,8", "--every", 6, "--jobs", 1)
    assert frames.exit_code == 0, frames.output
    assert "8 views written (16 images)" in frames.output
    doctor = run("doctor", synthetic)
    assert doctor.exit_code == 0, doctor.output
    assert "TS1" in doctor.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("labels", "RAW", "--out", "DATA", "--format", "toolbox"), "there is no toolbox"),
        (("labels", "RAW", "--out", "DATA", "--without-images"), "--without-images: only for Human3.6M"),
        (("labels", "RAW", "--out", "DATA", "--cameras", "99"), "expected one of regular"),
        (("labels", "H36M", "--out", "DATA", "--every", "2"), "--every: only for MPI-INF-3DHP"),
        (("labels", "H36M", "--out", "DATA", "--format", "lifting"), "--format lifting: only for MPI-INF-3DHP"),
        (("extract", "RAW", "--out", "DATA", "--undistort"), "--undistort: only for Human3.6M"),
        (("eval", "FILE", "--data", "RAW", "--protocol", "mpi-inf-3dhp-best"), "no protocol 'mpi-inf-3dhp-best'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, synthetic: Path, unpacked: Path, words: tuple[str, ...], message: str
) -> None:
    file = GOLDENS / "predictions" / "inference_data_a.mat"
    places = {"RAW": synthetic, "H36M": unpacked, "DATA": tmp_path, "FILE": file}
    result = run(*(places.get(word, word) for word in words))
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
