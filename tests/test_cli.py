"""The commands as a user types them: what they say, what they write, their exit status, and every kind of bad input."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic_data import ACTIONS, FRAMES, VIEWS, WritesAFile, digests, done, h36m, refused

from h36m_toolbox.benchmarks.protocols import PROTOCOLS, Protocol
from h36m_toolbox.benchmarks.standings.leaderboard import append_row, read_leaderboard
from h36m_toolbox.cli import main
from h36m_toolbox.models import list_models
from h36m_toolbox.raw.cdf import read_pose_cdf, write_pose_cdf
from h36m_toolbox.sequences import CAMERA_IDS, Recording
from h36m_toolbox.synthetic.archive import SyntheticPlan, write_synthetic_archive

ROOT = Path(__file__).parents[1]
UNREADABLE = b"\0" * 1000
FILMED = 8  # videos of the archive below


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RAW with videos: S9 and S11, both recordings of Directions, two cameras, three poses each."""
    raw = tmp_path_factory.mktemp("filmed") / "raw"
    cameras = ("54138969", "58860488")
    write_synthetic_archive(
        raw, SyntheticPlan(("S9", "S11"), ("Directions",), cameras=cameras, frames=3, detections=False)
    )
    return raw


@pytest.fixture
def breakable(filmed: Path, tmp_path: Path) -> Path:
    """A copy of the filmed archive for tests that damage it."""
    return shutil.copytree(filmed, tmp_path / "raw")


@pytest.fixture(scope="module")
def runs(synthetic_data: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNS with one run of an untrained SemGCN."""
    runs = tmp_path_factory.mktemp("benched") / "runs"
    done("bench", "--model", "semgcn", "--data", synthetic_data, "--runs", runs, "--untrained", "--device", "cpu")
    return runs


@pytest.fixture(scope="module")
def predictions(runs: Path) -> Path:
    (path,) = runs.glob("*/predictions.parquet")
    return path


# Help and usage


@pytest.mark.parametrize("name", main.commands)
def test_every_command_says_what_it_does_and_what_its_options_are(name: str) -> None:
    command = main.commands[name]
    text = " ".join(done(name, "--help").split())
    assert command.help
    assert " ".join(command.help.split()) in text
    for parameter in command.params:
        for flag in (*parameter.opts, *parameter.secondary_opts) if isinstance(parameter, click.Option) else ():
            assert flag in text
    assert " ".join(done(name, "-h").split()) == text


WRONG_USAGE = {
    "no command": (),
    "an unknown command": ("prepare",),
    "an unknown option": ("models", "--yaml"),
    "no RAW": ("extract", "--out", "data"),
    "no --out": ("labels", "raw"),
    "an unknown format": ("labels", "raw", "--out", "data", "--format", "coco"),
    "an unknown size": ("synth", "raw", "--size", "huge"),
    "an unknown split": ("bench", "--model", "semgcn", "--data", ".", "--untrained", "--split", "test"),
    "a quality above 100": ("extract", "raw", "--out", "data", "--quality", "101"),
    "every 0th frame": ("extract", "raw", "--out", "data", "--every", "0"),
    "no processes": ("extract", "raw", "--out", "data", "--jobs", "0"),
    "text for a number": ("train", "--model", "semgcn", "--data", ".", "--epochs", "many"),
    "DATA that is not there": ("stats", "no/such/folder"),
    "DATA that is a file": ("bench", "--model", "semgcn", "--data", __file__, "--untrained"),
    "a file for RAW": ("extract", __file__, "--out", "data"),
    "neither weights nor --untrained": ("bench", "--model", "semgcn", "--data", "."),
    "both weights and --untrained": ("bench", "--model", "semgcn", "--data", ".", "--weights", "w.pt", "--untrained"),
}


@pytest.mark.parametrize("words", WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage_has_exit_status_2(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = h36m(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert not list(tmp_path.iterdir())


def test_a_refusal_reaches_the_shell_as_one_line_and_exit_status_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "h36m_toolbox", "extract", str(tmp_path / "none"), "--out", str(tmp_path / "data")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith(f"Error: {tmp_path / 'none'}: no such folder; ")
    assert process.stderr.count("\n") == 1


# RAW that cannot be used

PREPARING = ("extract", "labels", "detections")


@pytest.mark.parametrize("command", PREPARING)
def test_raw_that_does_not_exist_is_refused(command: str, tmp_path: Path) -> None:
    message = refused(command, tmp_path / "raw", "--out", tmp_path / "data")
    assert f"{tmp_path / 'raw'}: no such folder; give the folder that holds" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", PREPARING)
def test_an_empty_folder_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    message = refused(command, tmp_path / "raw", "--out", tmp_path / "data")
    assert f"{tmp_path / 'raw'}: no Human3.6M here; expected Poses_*.tgz" in message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", PREPARING)
def test_a_folder_of_another_layout_is_refused_with_what_was_seen(command: str, tmp_path: Path) -> None:
    for place in ("train/walking.mp4", "train/poses.cdf"):
        path = tmp_path / "raw" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(UNREADABLE)
    message = refused(command, tmp_path / "raw", "--out", tmp_path / "data")
    assert "no Human3.6M here" in message
    assert f"{tmp_path / 'raw/train/walking.mp4'}: not a name of the data set" in message
    assert not (tmp_path / "data").exists()


def test_a_login_page_saved_as_an_archive_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "Poses_D2_Positions_S1.tgz").write_text("<!DOCTYPE html><html>Please log in</html>")
    message = refused("labels", tmp_path, "--out", tmp_path / "data")
    assert "Poses_D2_Positions_S1.tgz: is a web page, not an archive" in message


def test_a_place_that_cannot_be_written_to_is_one_clean_line(synthetic_raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refused("labels", synthetic_raw, "--out", tmp_path / "file" / "data", "--jobs", 1)
    assert f"{tmp_path / 'file' / 'data'}" in message
    assert "Not a directory" in message


# extract


def test_extract_writes_the_frames_and_says_how_many(filmed: Path, tmp_path: Path) -> None:
    output = done("extract", filmed, "--out", tmp_path, "--jobs", 2)
    frames = 3 * FILMED + 4 * (1 + 4)  # films are one and four frames longer than there are poses
    assert output == f"{FILMED} sequences written\n{frames} frames in {tmp_path / 'images'}\n"
    assert len(list((tmp_path / "images").rglob("*.jpg"))) == frames


def test_extract_filters_by_subject_and_camera(filmed: Path, tmp_path: Path) -> None:
    done("extract", filmed, "--out", tmp_path, "--jobs", 1, "--subjects", "S11", "--cameras", "58860488")
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        "s_11_act_02_subact_01_ca_03",
        "s_11_act_02_subact_02_ca_03",
    }


def test_extract_takes_every_nth_frame_from_the_first(filmed: Path, tmp_path: Path) -> None:
    output = done("extract", filmed, "--out", tmp_path, "--jobs", 1, "--every", 3, "--cameras", "58860488")
    assert "4 sequences written" in output
    folder = tmp_path / "images" / "s_09_act_02_subact_01_ca_03"
    numbers = [1, 4, 7]
    assert {path.name for path in folder.iterdir()} == {f"{folder.name}_{number:06d}.jpg" for number in numbers}


def test_extract_with_dry_run_says_what_it_would_do_and_writes_nothing(filmed: Path, tmp_path: Path) -> None:
    assert f"{FILMED} sequences planned" in done("extract", filmed, "--out", tmp_path / "data", "--dry-run")
    assert not (tmp_path / "data").exists()
    done("extract", filmed, "--out", tmp_path / "data", "--jobs", 1, "--subjects", "S9")
    before = digests(tmp_path / "data")
    output = done("extract", filmed, "--out", tmp_path / "data", "--jobs", 1, "--dry-run")
    assert "4 sequences kept\n4 sequences planned" in output
    assert digests(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("option", "words", "known"),
    [
        ("--subjects", "S9,S2", "S1, S5, S6, S7, S8, S9, S11"),
        ("--actions", "Dancing", "Directions, Discussion"),
        ("--cameras", "1", "54138969, 55011271"),
    ],
)
def test_extract_answers_unknown_names_with_the_known_ones(
    filmed: Path, tmp_path: Path, option: str, words: str, known: str
) -> None:
    message = refused("extract", filmed, "--out", tmp_path / "data", option, words)
    assert f"unknown: {words.split(',')[-1]}; there are {known}" in message


def test_extract_without_a_video_of_what_was_asked_for_is_refused(
    filmed: Path, synthetic_raw: Path, tmp_path: Path
) -> None:
    for raw, words in ((filmed, ("--actions", "Walking")), (synthetic_raw, ())):
        message = refused("extract", raw, "--out", tmp_path / "data", *words)
        assert f"{raw}: no video of what was asked for; get Videos_S*.tgz" in message


def test_an_unreadable_video_is_a_failure_and_the_others_are_done(breakable: Path, tmp_path: Path) -> None:
    video = breakable / "S9" / "Videos" / "Directions 1.58860488.mp4"
    whole = video.read_bytes()
    video.write_bytes(UNREADABLE)
    result = h36m("extract", breakable, "--out", tmp_path / "data", "--jobs", 2)
    assert result.exit_code == 1
    assert f"S9/Directions 1.58860488: {video}: cannot be read as a video" in result.stdout
    assert f"{FILMED - 1} sequences written\n1 sequences failed" in result.stdout
    assert len(list((tmp_path / "data" / "images").iterdir())) == FILMED - 1
    video.write_bytes(whole)
    output = done("extract", breakable, "--out", tmp_path / "data", "--jobs", 1)
    assert f"1 sequences written\n{FILMED - 1} sequences kept" in output


def test_the_video_that_is_unreadable_for_everyone_is_reported_but_no_failure(breakable: Path, tmp_path: Path) -> None:
    (breakable / "S11" / "Videos" / "Directions.54138969.mp4").write_bytes(UNREADABLE)
    output = done("extract", breakable, "--out", tmp_path / "data", "--jobs", 1, "--subjects", "S11")
    assert "S11/Directions.54138969: " in output
    assert "(known: it is so for everyone)" in output
    assert "3 sequences written\n1 sequences failed" in output


# labels


def test_labels_are_written_for_both_splits(synthetic_raw: Path, tmp_path: Path) -> None:
    output = done("labels", synthetic_raw, "--out", tmp_path, "--jobs", 1)
    folder = tmp_path / "labels" / "parquet"
    assert f"{VIEWS} sequences, {VIEWS * FRAMES} rows in {folder / 'train.parquet'}" in output
    assert f"{2 * VIEWS} sequences, {2 * VIEWS * FRAMES} rows in {folder / 'val.parquet'}" in output
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "train.parquet", "val.parquet"]


@pytest.fixture
def breakable_poses(synthetic_raw: Path, tmp_path: Path) -> Path:
    return shutil.copytree(synthetic_raw / "S9" / "MyPoseFeatures", tmp_path / "raw" / "S9" / "MyPoseFeatures").parents[
        1
    ]


def test_a_truncated_pose_file_is_told_and_the_other_sequences_are_written(
    breakable_poses: Path, tmp_path: Path
) -> None:
    damaged = breakable_poses / "S9/MyPoseFeatures/D3_Positions_mono/Eating.54138969.cdf"
    damaged.write_bytes(damaged.read_bytes()[:500])
    for _ in range(2):
        result = h36m("labels", breakable_poses, "--out", tmp_path / "data", "--jobs", 1)
        assert result.exit_code == 1
        assert f"left out: {damaged}: cannot be read as CDF" in result.stdout
        assert f"{VIEWS - 1} sequences, {(VIEWS - 1) * FRAMES} rows" in result.stdout
    report = json.loads((tmp_path / "data/labels/parquet/report.json").read_text())
    assert str(damaged) in report["files"]["val"]["damaged"][0]
    assert pq.read_metadata(tmp_path / "data/labels/parquet/val.parquet").num_rows == (VIEWS - 1) * FRAMES


def test_lengths_that_disagree_are_cut_to_the_shortest_and_told(breakable_poses: Path, tmp_path: Path) -> None:
    shorter = breakable_poses / "S9/MyPoseFeatures/D2_Positions/Eating.54138969.cdf"
    write_pose_cdf(shorter, read_pose_cdf(shorter, 2)[:5])
    output = done("labels", breakable_poses, "--out", tmp_path / "data", "--jobs", 1)
    assert "S9/Eating.54138969: cut to 5 frames, it has world 8, camera 8, universal 8, image 5" in output
    assert f"{VIEWS} sequences, {VIEWS * FRAMES - 3} rows" in output


def test_a_video_with_fewer_frames_than_poses_is_told(breakable: Path, tmp_path: Path) -> None:
    for path in breakable.glob("S9/MyPoseFeatures/*/Directions 1.*cdf"):
        poses = read_pose_cdf(path, 2 if path.parent.name == "D2_Positions" else 3)
        write_pose_cdf(path, np.concatenate([poses, poses]))
    done("extract", breakable, "--out", tmp_path / "data", "--jobs", 1)
    output = done(
        "labels", breakable, "--out", tmp_path / "data", "--jobs", 1, "--format", "parquet", "--format", "toolbox"
    )
    assert "S9/Directions 1.54138969: fewer images than poses, poses 6, video 4" in output
    assert "S9/Directions 1.54138969: 2 poses left out, they have no image" in output


def test_a_missing_kind_of_pose_leaves_the_sequence_out_or_refuses(breakable_poses: Path, tmp_path: Path) -> None:
    universal = breakable_poses / "S9" / "MyPoseFeatures" / "D3_Positions_mono_universal"
    (universal / "Eating.54138969.cdf").unlink()
    output = done("labels", breakable_poses, "--out", tmp_path / "data", "--jobs", 1)
    assert "S9/Eating.54138969: D3_Positions_mono_universal is not there and cannot be derived" in output
    fetch = ("labels", breakable_poses, "--format", "h36m-fetch", "--jobs", 1, "--out")
    assert "S9/Eating.54138969: left out, it lacks D3_Positions_mono_universal" in done(*fetch, tmp_path / "data")
    shutil.rmtree(universal)
    message = refused(*fetch, tmp_path / "other")
    assert "no sequence has D3_Positions or D3_Positions_mono and D3_Positions_mono_universal" in message


@pytest.mark.parametrize("name", ["toolbox", "poseformer"])
def test_formats_that_list_images_ask_for_extract_first(synthetic_raw: Path, tmp_path: Path, name: str) -> None:
    message = refused("labels", synthetic_raw, "--out", tmp_path, "--format", name)
    assert f"{tmp_path / 'images'}: no frames, and {name} lists only poses that have one; run `h36m extract" in message
    assert not list(tmp_path.iterdir())


def test_poseformer_asks_for_cpn_detections(synthetic_raw: Path, tmp_path: Path) -> None:
    message = refused("labels", synthetic_raw, "--out", tmp_path, "--format", "poseformer", "--without-images")
    assert f"{tmp_path / 'detections/cpn.parquet'}: no CPN detections" in message
    assert "`h36m detections RAW" in message


def test_several_formats_are_written_by_one_command(synthetic_raw: Path, tmp_path: Path) -> None:
    cpn = synthetic_raw / "detections" / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    done("detections", synthetic_raw, "--out", tmp_path, "--cpn", cpn)
    formats = [word for name in ("toolbox", "poseformer", "parquet") for word in ("--format", name)]
    done("labels", synthetic_raw, "--out", tmp_path, "--jobs", 1, "--without-images", *formats)
    assert {path.relative_to(tmp_path / "labels").as_posix() for path in (tmp_path / "labels").rglob("*.p*")} >= {
        "toolbox/h36m_train.pkl",
        "toolbox/h36m_validation.pkl",
        "poseformer/h36m_train.pkl",
        "poseformer/h36m_validation.pkl",
        "parquet/train.parquet",
        "parquet/val.parquet",
    }


# detections and statistics


@pytest.mark.parametrize("option", ["--cpn", "--sh"])
def test_detection_files_that_are_missing_or_of_another_kind_are_refused(
    synthetic_raw: Path, tmp_path: Path, option: str
) -> None:
    text = tmp_path / "notes.npz"
    text.write_text("not an archive")
    for path, reason in ((tmp_path / "none.npz", "no such file"), (text, "no readable npz file")):
        message = refused("detections", synthetic_raw, "--out", tmp_path / "data", option, path)
        assert f"{path}: {reason}" in message
    assert not (tmp_path / "data" / "detections" / f"{option[2:]}.parquet").exists()


def test_code_in_a_detections_file_is_never_run(synthetic_raw: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", positions_2d=np.array(WritesAFile(tmp_path / "sentinel"), dtype=object))
    message = refused("detections", synthetic_raw, "--out", tmp_path / "data", "--cpn", tmp_path / "evil.npz")
    assert "evil.npz" in message
    assert not (tmp_path / "sentinel").exists()


def test_sequences_without_detections_are_named(synthetic_raw: Path, tmp_path: Path) -> None:
    cpn = synthetic_raw / "detections" / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    output = done("detections", synthetic_raw, "--out", tmp_path, "--cpn", cpn)
    assert output.count(": no detections\n") == len(CAMERA_IDS)  # as in the official file: S11 Directions 2
    assert "S11/Directions.54138969: no detections" in output
    assert f"{3 * VIEWS} sequences, {3 * VIEWS * FRAMES} rows in {tmp_path / 'detections/gt.parquet'}" in output


def test_stats_prints_a_line_a_limb_and_writes_both_files(synthetic_data: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic_data / "labels", tmp_path / "labels")
    lines = done("stats", tmp_path, "--select", "all").splitlines()
    assert lines[0] == "| limb, mm | S1 (48 poses) | all (48 poses) |"
    assert len([line for line in lines if "±" in line]) == 16
    assert [path.name for path in sorted((tmp_path / "stats").iterdir())] == [
        "limb_lengths.csv",
        "mean_and_std_limb_length.h5",
    ]


def test_stats_without_labels_asks_for_them(tmp_path: Path) -> None:
    assert "train.parquet: no labels of the train split; run `h36m labels RAW" in refused("stats", tmp_path)


def test_every_preparing_command_run_twice_leaves_the_same_bytes(
    filmed: Path, synthetic_raw: Path, tmp_path: Path
) -> None:
    cpn = synthetic_raw / "detections" / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    sh = synthetic_raw / "detections" / "stacked_hourglass_fined_tuned_240.tar.gz"
    formats = [word for name in ("toolbox", "poseformer", "parquet") for word in ("--format", name)]
    seen = []
    for jobs in (1, 2):
        done("extract", filmed, "--out", tmp_path, "--jobs", jobs)
        done("detections", synthetic_raw, "--out", tmp_path, "--cpn", cpn, "--sh", sh)
        done("labels", synthetic_raw, "--out", tmp_path, "--jobs", jobs, *formats)
        done("stats", tmp_path, "--select", "all")
        seen.append(digests(tmp_path))
    assert seen[0] == seen[1]
    assert not [name for name in seen[0] if "partial" in name]


# synth


def test_synth_writes_what_it_says(tmp_path: Path) -> None:
    output = done("synth", tmp_path, "--subjects", "S9", "--actions", "Walking", "--frames", 2, "--jobs", 1)
    assert output == f"{tmp_path}: 2 recordings, 16 poses, 8 videos\n"
    assert len(list(tmp_path.rglob("*.mp4"))) == 8
    assert len(list((tmp_path / "S9" / "MyPoseFeatures" / "D3_Positions").iterdir())) == 2
    for folder in ("D2_Positions", "D3_Positions_mono", "D3_Positions_mono_universal"):
        assert len(list((tmp_path / "S9" / "MyPoseFeatures" / folder).iterdir())) == 8
    assert len(list((tmp_path / "detections").iterdir())) == 2


def test_synth_writes_one_recording_of_each_action_if_asked(tmp_path: Path) -> None:
    words = ("--subjects", "S9", "--actions", "Walking,Eating", "--subaction", 2, "--frames", 2, "--no-videos")
    assert done("synth", tmp_path, *words, "--jobs", 1) == f"{tmp_path}: 2 recordings, 16 poses, 0 videos\n"
    worlds = {path.name for path in (tmp_path / "S9" / "MyPoseFeatures" / "D3_Positions").iterdir()}
    assert worlds == {f"{Recording('S9', action, 2).stem}.cdf" for action in ("Walking", "Eating")}


def test_synth_writes_the_subjects_actions_and_frames_asked_for(synthetic_raw: Path) -> None:
    assert {path.name for path in synthetic_raw.iterdir()} == {"S1", "S9", "S11", "detections"}
    assert not list(synthetic_raw.rglob("*.mp4"))
    worlds = list(synthetic_raw.glob("*/MyPoseFeatures/D3_Positions/*.cdf"))
    assert len(worlds) == 3 * len(ACTIONS) * 2
    assert {len(read_pose_cdf(path, 3)) for path in worlds} == {FRAMES}


def test_synth_of_full_size_has_the_real_lengths_and_no_videos(tmp_path: Path) -> None:
    walking = Recording("S11", "Walking", 1)
    words = ("--size", "full", "--subjects", "S11", "--actions", "Walking", "--jobs", 1)
    poses = 4 * sum(replace(walking, subaction=subaction).pose_frames for subaction in (1, 2))
    assert done("synth", tmp_path, *words) == f"{tmp_path}: 2 recordings, {poses:,} poses, 0 videos\n"
    assert {path.name for path in tmp_path.iterdir()} == {"S11"}
    world = tmp_path / "S11" / "MyPoseFeatures" / "D3_Positions" / f"{walking.stem}.cdf"
    assert len(read_pose_cdf(world, 3)) == walking.pose_frames


def test_synth_run_twice_writes_the_same_bytes_and_another_seed_others(synthetic_raw: Path, tmp_path: Path) -> None:
    words = ("--subjects", "S1,S9,S11", "--actions", ",".join(ACTIONS), "--frames", FRAMES, "--no-videos")
    for _ in range(2):
        done("synth", tmp_path / "same", *words, "--jobs", 1)
        assert digests(tmp_path / "same") == digests(synthetic_raw)
    done("synth", tmp_path / "other", *words, "--jobs", 1, "--seed", 1)
    assert not set(digests(tmp_path / "other").values()) & set(digests(synthetic_raw).values())


@pytest.mark.parametrize(("option", "word"), [("--subjects", "S2"), ("--subjects", "S12"), ("--actions", "Dancing")])
def test_synth_of_what_the_data_set_has_no_poses_of_is_refused(tmp_path: Path, option: str, word: str) -> None:
    message = refused("synth", tmp_path / "raw", option, word, "--no-videos")
    assert word in message
    assert "S1, S5, S6, S7, S8, S9, S11" in message
    assert not (tmp_path / "raw").exists()


# doctor


def test_doctor_of_a_partial_data_folder_has_exit_status_0(synthetic_data: Path, synthetic_raw: Path) -> None:
    assert f"val: {2 * VIEWS * FRAMES} rows of 550,644" in done("doctor", synthetic_data)
    assert "8 poses; the official release has" in done("doctor", synthetic_raw)


def test_doctor_has_exit_status_1_where_something_is_wrong(synthetic_data: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic_data, tmp_path / "data")
    path = tmp_path / "data" / "labels" / "parquet" / "val.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    result = h36m("doctor", tmp_path / "data")
    assert result.exit_code == 1
    assert f"{path}: cannot be read" in result.stdout
    assert h36m("doctor", tmp_path / "data", "--json").exit_code == 1


def test_doctor_of_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path}: no Human3.6M here" in refused("doctor", tmp_path)
    assert h36m("doctor", tmp_path / "none").exit_code == 2


# models and protocols


def test_models_lists_published_figures_and_where_the_weights_are() -> None:
    text = done("models")
    for card in list_models():
        assert f"{card.parameters:,}" in text
        assert card.weights in text
        for score in card.published:
            aligned = "-" if score.p_mpjpe_mm is None else f"{score.p_mpjpe_mm:.2f}"
            assert f"{score.mpjpe_mm:.2f} / {aligned} mm on {score.detections}" in text


def test_models_as_json_is_json() -> None:
    cards = json.loads(done("models", "--json"))
    assert [card["name"] for card in cards] == [card.name for card in list_models()]
    assert all(card["weights"] for card in cards)
    unpublished = {card["name"] for card in cards if not card["published"]}
    assert unpublished == {"integral-direct"}  # its authors' program has a recipe for it and no figure


def test_protocols_prints_every_switch_of_every_protocol() -> None:
    text = done("protocols")
    for protocol in PROTOCOLS.values():
        assert f"name                     {protocol.name}\n" in text
    for field in fields(Protocol):
        assert text.count(f"\n{field.name} ") + text.startswith(field.name) == len(PROTOCOLS)


# eval and leaderboard


def test_eval_prints_tables_and_writes_the_report_where_asked(
    synthetic_data: Path, predictions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "report"
    text = done("eval", predictions, "--data", synthetic_data, "--protocol", "semgcn", "--out", out)
    for title in ("| mean | MPJPE |", "| action | frames |", "| subject | frames |", "| joint | MPJPE |", "Protocol:"):
        assert title in text
    report = json.loads((out / "report.json").read_text())
    assert report["protocol"]["name"] == "semgcn"
    assert report["headline"]["mpjpe"] > 0
    with (out / "per_action.csv").open(newline="") as file:
        assert [row["action"] for row in csv.DictReader(file)] == list(ACTIONS)
    assert f"wrote {out / 'report.json'}, {out / 'per_action.csv'}" in text
    before = digests(out)
    assert done("eval", predictions, "--data", synthetic_data, "--protocol", "semgcn", "--out", out) == text
    assert digests(out) == before
    reports = {"report.json", "per_action.csv", "predictions.parquet"}
    assert set(before) == {*reports, "environment.json", "complete.json"}


def test_eval_tells_pck_at_other_thresholds(synthetic_data: Path, predictions: Path, tmp_path: Path) -> None:
    words = ("eval", predictions, "--data", synthetic_data, "--protocol", "semgcn")
    said = done(*words, "--pck", "50,100", "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "report.json").read_text())["pck"]
    assert all(f"| {point['threshold_mm']:g} | {point['percent']:.2f} |" in said for point in told)
    assert [point["threshold_mm"] for point in told] == [50, 100]
    assert h36m(*words, "--pck", "50,near").exit_code == 2
    assert h36m(*words, "--pck", "-1").exit_code == 2


def test_eval_refuses_what_cannot_be_scored(synthetic_data: Path, predictions: Path, tmp_path: Path) -> None:
    data = ("--data", synthetic_data)
    assert "no such file" in refused("eval", tmp_path / "none.parquet", *data)
    assert "no readable Parquet" in refused("eval", __file__, *data)
    assert "provenance lacks" in refused("eval", synthetic_data / "labels/parquet/val.parquet", *data)
    assert "protocols that fit it: semgcn, semgcn-centred" in refused("eval", predictions, *data)
    assert "known: videopose3d, semgcn" in refused("eval", predictions, *data, "--protocol", "P1")
    message = refused("eval", predictions, *data, "--protocol", "semgcn", "--split", "train")
    assert "are they of another split?" in message


def test_leaderboard_ranks_complete_runs_and_keeps_incomplete_ones_below(runs: Path, tmp_path: Path) -> None:
    (row,) = read_leaderboard(runs / "leaderboard.csv")
    assert row.incomplete  # three actions of fifteen
    for run, mpjpe, incomplete in (("worse", 60.0, False), ("partial", 1.0, True), ("better", 40.0, False)):
        append_row(tmp_path / "leaderboard.csv", replace(row, run=run, mpjpe_mm=mpjpe, incomplete=incomplete))
    text = done("leaderboard", "--runs", tmp_path, "--format", "markdown")
    lines = [line for line in text.splitlines() if "| semgcn |" in line]
    assert [line.split("|")[1].strip() for line in lines] == ["1", "2", "incomplete"]
    assert [line.split("|")[-2].strip() for line in lines] == ["better", "worse", "partial"]


def test_leaderboard_shows_one_protocol_or_refuses(runs: Path, tmp_path: Path) -> None:
    assert done("leaderboard", "--runs", runs, "--protocol", "semgcn").startswith("semgcn, version 1")
    assert "no run was scored under 'strict'" in refused("leaderboard", "--runs", runs, "--protocol", "strict")
    assert "leaderboard.csv: no such file" in refused("leaderboard", "--runs", tmp_path)


# What train and bench refuse before any work; tests/benchmarks has the rest

UNKNOWN = {
    "model": ("--model", "posenet", "no model is called posenet; there are .*martinez.* semgcn, semgcn-nonlocal"),
    "detections": ("--detections", "hrnet", r"hrnet\.parquet: no such detections; .* has cpn, gt, sh"),
    "a path for detections": ("--detections", "../labels/parquet/val", "is no name of detections"),
    "device": ("--device", "tpu", "device 'tpu' cannot be used .*; try --device auto"),
    "a device without memory": ("--device", "meta", "device 'meta' cannot be used"),
}


@pytest.mark.parametrize("command", ["train", "bench"])
@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_names_are_refused_and_nothing_is_written(
    synthetic_data: Path, one_thread: None, tmp_path: Path, command: str, case: str
) -> None:
    option, word, message = UNKNOWN[case]
    options = {"--model": "semgcn", "--data": synthetic_data, "--runs": tmp_path / "runs", "--device": "cpu"}
    options[option] = word
    extra = ("--untrained",) if command == "bench" else ("--epochs", 1)
    assert re.search(message, refused(command, *(x for pair in options.items() for x in pair), *extra))
    assert not (tmp_path / "runs").exists()


def test_an_unknown_protocol_is_answered_with_the_known_ones(synthetic_data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--data", synthetic_data, "--runs", tmp_path / "runs", "--untrained")
    message = refused("bench", *words, "--protocol", "protocol1")
    assert "no protocol is called 'protocol1'; known: videopose3d, semgcn" in message
    assert not (tmp_path / "runs").exists()
