"""`h36m report` as a user asks for it: the figures in the page, what is never put side by side, and every refusal."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from judged_tables import labels_of, predictions_of
from PIL import Image
from synthetic_data import done, h36m, refused

from h36m_toolbox.benchmarks.narrowing import protocol_of_name
from h36m_toolbox.benchmarks.predictions import read_predictions, write_predictions
from h36m_toolbox.benchmarks.reports import FIGURES
from h36m_toolbox.benchmarks.runs.folders import MARKER_NAME
from h36m_toolbox.benchmarks.runs.records import record_predictions
from h36m_toolbox.labels import data_fingerprint, label_sequences, labels_path, read_labels
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, TEST_SUBJECTS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17

EVERY_VIEW = [Sequence(s, action, 1, camera) for s in TEST_SUBJECTS for action in ACTIONS for camera in CAMERA_IDS]
FRAMES = 3


def scored(
    folder: Path,
    poses: dict[Sequence, np.ndarray],
    data: Path,
    protocol: str,
    model: str = "mine",
    root: str = "relative",
) -> Path:
    """A finished run of these predictions, its folder renamed."""
    given, runs = folder.parent / f"{folder.name}-given", folder.parent / f"{folder.name}-runs"
    given.mkdir(parents=True)
    path = predictions_of(given, poses, root=root).path
    predictions = read_predictions(path)
    made = replace(predictions.provenance, model=model, data_fingerprint=data_fingerprint(data, "val"))
    write_predictions(path, predictions.table, made)
    labels = read_labels(data, "val", ["joints_3d_camera"])
    run = record_predictions(path, runs, data, "val", labels, protocol_of_name(protocol), ("eval", "a b"))
    return run.folder.rename(folder)


def page_of(out: Path) -> str:
    return out.read_text(encoding="utf-8")


def said(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text())


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def tables(page: str) -> list[list[list[str]]]:
    """Every table of a page: rows of the texts of their cells, the heading first."""
    found = re.findall(r"<table.*?</table>", page, re.S)
    rows = [re.findall(r"<tr>.*?</tr>", one, re.S) for one in found]
    return [[[text_of(c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in one] for one in rows]


def blocks(page: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]


def views(page: str) -> list[dict[str, Any]]:
    return [json.loads(html.unescape(text)) for text in re.findall(r'data-scene="(.*?)"', page)]


@pytest.fixture(scope="module")
def truth() -> dict[Sequence, np.ndarray]:
    """Poses of every view of the test subjects, mm, camera frame."""
    random = np.random.default_rng(1)
    return {view: random.normal(0, 300, (FRAMES, 17, 3)) + (0, 0, 5000) for view in EVERY_VIEW}


@pytest.fixture(scope="module")
def data(truth: dict[Sequence, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with labels of every action and no frames: a run on it is complete."""
    folder = tmp_path_factory.mktemp("complete")
    path = labels_path(folder, "val")
    path.parent.mkdir(parents=True)
    pq.write_table(labels_of(truth), path)
    return folder


def guesses(truth: dict[Sequence, np.ndarray], spread_mm: float, seed: int = 0) -> dict[Sequence, np.ndarray]:
    random = np.random.default_rng(seed)
    return {view: poses - poses[:, :1] + random.normal(0, spread_mm, poses.shape) for view, poses in truth.items()}


@pytest.fixture(scope="module")
def run(truth: dict[Sequence, np.ndarray], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, with an error that is worst in one known frame."""
    poses = guesses(truth, 20)
    poses[WORST][1, H36M_17.joints.index("LWrist")] += (0, 0, 2000)
    return scored(tmp_path_factory.mktemp("runs") / "good", poses, data, "videopose3d")


WORST = Sequence("S11", "Waiting", 1, CAMERA_IDS[2])


@pytest.fixture(scope="module")
def page(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page.html"
    done("report", run, "--data", data, "--out", out)
    return page_of(out)


@pytest.fixture(scope="module")
def benched(synthetic_data: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `h36m bench` leaves on the tiny archive, of which most actions are missing."""
    runs = tmp_path_factory.mktemp("benched")
    words = ("--data", synthetic_data, "--runs", runs, "--device", "cpu", "--untrained")
    done("bench", "--model", "semgcn", *words)
    (folder,) = (path for path in runs.iterdir() if path.is_dir())
    return folder


# What is in the page


def test_every_figure_of_the_report_is_in_the_page(run: Path, page: str) -> None:
    headline, means, *_ = tables(page)
    report = said(run)
    assert headline[1][4:] == [
        f"{report['headline'][name]:.2f}"
        for name in ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve", "pck150", "auc", "mpjpe_median", "mpjpe_p90")
    ]
    assert [row[1] for row in means[1:]] == [f"{report['headline'][name]:.2f}" for name in FIGURES]
    assert [row[2] for row in means[1:]] == [f"{report['other_mean'][name]:.2f}" for name in FIGURES]


@pytest.mark.parametrize("group", ["per_action", "per_subaction", "per_subject", "per_camera", "per_sequence"])
def test_every_group_of_the_report_has_its_table(run: Path, page: str, group: str) -> None:
    rows = said(run)[group]
    expected = [[row["name"], str(row["frames"]), *(f"{row[name]:.2f}" for name in FIGURES)] for row in rows]
    assert expected in [table[1:] for table in tables(page)]


def test_every_joint_has_its_errors_in_a_table_and_in_a_bar(run: Path, page: str) -> None:
    rows = said(run)["per_joint"]
    for names in (("mpjpe", "mpjpe_median", "mpjpe_p90"), ("p_mpjpe", "p_mpjpe_median", "p_mpjpe_p90")):
        expected = [[row["joint"], *(f"{row[name]:.2f}" for name in names)] for row in rows]
        assert expected in [table[1:] for table in tables(page)]
    for row in rows:
        assert f"good, {row['joint']}: MPJPE {row['mpjpe']:.2f} mm, P-MPJPE {row['p_mpjpe']:.2f} mm" in page


def test_the_curve_has_the_area_and_the_end_that_the_report_says(run: Path, page: str) -> None:
    points = re.findall(r"good: ([\d.]+) % of joints within (\d+) mm", page)
    assert [int(distance) for _, distance in points] == list(range(0, 151, 5))
    percents = [float(percent) for percent, _ in points]
    headline = said(run)["headline"]
    assert np.mean(percents) == pytest.approx(headline["auc"], abs=0.01)
    assert percents[-1] == pytest.approx(headline["pck150"], abs=0.01)


def test_the_error_over_time_is_that_of_each_frame(run: Path, page: str, truth: dict[Sequence, np.ndarray]) -> None:
    (record,) = blocks(page)
    options = re.findall(r"<option[^>]*>(.*?)</option>", page)
    per_sequence = {row["name"]: row["mpjpe"] for row in said(run)["per_sequence"]}
    assert len(record["sequences"]) == len(options) == len(per_sequence)
    place = next(n for n, words in enumerate(options) if words.startswith("S11 Waiting 1, camera 58860488"))
    shown = record["sequences"][place]
    assert shown["frames"] == list(range(FRAMES))
    (errors,) = shown["runs"]
    assert errors["mean"] == errors["worst"]
    assert np.mean(errors["mean"]) / 10 == pytest.approx(per_sequence[str(WORST)], abs=0.05)
    assert np.argmax(errors["mean"]) == 1
    assert re.search(r"<option selected>(.*?)</option>", page)[1] == options[place]


def test_the_worst_frame_comes_first_and_its_3d_view_holds_both_poses(
    page: str, truth: dict[Sequence, np.ndarray]
) -> None:
    cards = re.findall(r"<article.*?</article>", page, re.S)
    assert len(cards) == 8
    assert "S11 Waiting 1, camera 58860488, frame 1" in cards[0]
    assert "farthest joint: LWrist" in cards[0]
    scene = views(page)[0]
    target, predicted = (np.array(pose["points"]) for pose in scene["poses"])
    spokes = np.linalg.norm(truth[WORST][1] - truth[WORST][1, 0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(target - target[0], axis=1), spokes, atol=2)
    distances = np.linalg.norm(target - predicted, axis=1)
    assert distances[H36M_17.joints.index("LWrist")] > 1900
    assert float(re.search(r"MPJPE ([\d.]+) mm", cards[0])[1]) == pytest.approx(distances.mean(), abs=1)


def test_frames_of_median_error_are_of_median_error(run: Path, page: str) -> None:
    cards = re.findall(r"<article.*?</article>", page, re.S)
    median = said(run)["headline"]["mpjpe_median"]
    errors = [float(re.search(r"MPJPE ([\d.]+) mm", card)[1]) for card in cards]
    assert min(errors[:4]) > median
    assert errors[4:] == pytest.approx([median] * 4, abs=0.5)


def test_the_picture_is_the_frame_where_data_has_it(prepared: Path, tmp_path: Path) -> None:
    view = Sequence("S9", "Walking", 1, CAMERA_IDS[0])
    labels = next(table for found, table in label_sequences(prepared, "val", ["joints_3d_camera"]) if found == view)
    poses = pose_array(labels, "joints_3d_camera")
    run = scored(tmp_path / "walk", {view: poses - poses[:, :1] + 30}, prepared, "videopose3d")
    page = page_of(Path(done("report", run, "--data", prepared).split()[1].rstrip(":")))
    assert "does not have this frame" not in page
    source = re.search(r'<img src="data:image/jpeg;base64,(.*?)"', page)[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGB"))
    assert picture.shape == (420, 420, 3)
    assert np.median(picture) < 200  # plain ground is 250


def test_without_frames_the_poses_stand_alone_and_the_page_says_so(page: str) -> None:
    assert page.count("DATA does not have this frame") == 8


def test_protocol_and_provenance_are_complete(run: Path, page: str) -> None:
    report = said(run)
    text = text_of(page)
    for words in report["protocol"].values():
        assert words in text
    for name in ("weights_sha256", "data_fingerprint", "numpy_version", "device", "created"):
        assert str(report["provenance"][name]) in text
    assert report["predictions_sha256"] in text
    assert report["frames_sha256"] in text
    assert "eval 'a b'" in text
    assert "UNFINISHED" not in text
    assert "not the 543,344 frames that the protocol scores in the real data set" in text


@pytest.mark.parametrize(
    ("protocol", "root"),
    [
        ("contextpose", "relative"),  # no alignment
        ("learnable-triangulation-absolute", "absolute"),  # instants
        ("integral", "relative"),  # aligned on a joint that is not scored
        ("frontal-camera", "relative"),  # the root is not scored
    ],
)
def test_protocols_of_every_kind_have_their_page(
    truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path, protocol: str, root: str
) -> None:
    poses = guesses(truth, 9)
    if root == "absolute":  # one view of each instant is enough
        poses = {view: pose + truth[view][:, :1] for view, pose in poses.items() if view.camera == CAMERA_IDS[0]}
    run = scored(tmp_path / "run", poses, data, protocol, root=root)
    done("report", run, "--data", data)
    page = page_of(run / "report.html")
    headline = said(run)["headline"]
    assert tables(page)[0][1][4] == f"{headline['mpjpe']:.2f}"
    assert ("Narrow bars" in page) == (headline["p_mpjpe"] is not None)
    joints = len(said(run)["per_joint"])
    assert {len(pose["points"]) for view in views(page) for pose in view["poses"]} == {joints}


def test_a_run_without_any_error_has_its_page(truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path) -> None:
    run = scored(tmp_path / "run", truth, data, "strict", root="absolute")
    done("report", run, "--data", data)
    page = page_of(run / "report.html")
    assert tables(page)[0][1][4:6] == ["0.00", "0.00"]
    assert not re.search(r"\bnan\b", re.sub(r'base64,[^"]*"', "", page), re.I)


def test_frames_that_the_protocol_skips_are_not_in_the_error_over_time(
    truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path
) -> None:
    poses = {view: pose.copy() for view, pose in truth.items()}
    for pose in poses.values():
        pose[1:, 1:] += 9  # the first frame is exactly right, which this protocol skips
    run = scored(tmp_path / "run", poses, data, "motionbert", root="absolute")
    done("report", run, "--data", data)
    page = page_of(run / "report.html")
    assert {tuple(shown["frames"]) for shown in blocks(page)[0]["sequences"]} == {(1, 2)}
    assert "frame 0</h3>" not in page


# What the page is


def test_the_page_names_no_address_and_its_policy_lets_nothing_in(page: str) -> None:
    assert not re.search(r"https?:|@import|url\(", page)
    assert all(source.startswith("data:") for source in re.findall(r'\ssrc="(.*?)"', page))
    assert all(link.startswith(("#", "data:")) for link in re.findall(r'\shref="(.*?)"', page))
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)


def test_a_run_and_a_model_with_markup_for_names_stay_text(
    truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path
) -> None:
    name, model = "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"
    folders = [tmp_path / name, tmp_path / "'\"&<b>"]
    for seed, folder in enumerate(folders):
        scored(folder, guesses(truth, 20, seed), data, "videopose3d")
    third = scored(tmp_path / "third", guesses(truth, 20, 2), data, "videopose3d", model)
    done("report", *folders, third, "--data", data, "--out", tmp_path / "page.html")
    page = page_of(tmp_path / "page.html")
    assert "<img src=x" not in page
    assert '<b>"' not in page
    assert "alert(2)</script>" not in page
    assert page.count("<script>") == 1
    assert blocks(page)[0]["runs"] == [name, "'\"&<b>", "third"]
    assert tables(page)[0][3][1] == model


def test_a_long_sequence_takes_no_more_room_than_a_short_one(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    long = {view: random.normal(0, 300, (4000, 17, 3)) + (0, 0, 5000) for view in EVERY_VIEW[:1]}
    path = labels_path(tmp_path, "val")
    path.parent.mkdir(parents=True)
    pq.write_table(labels_of(long), path)
    run = scored(tmp_path / "run", guesses(long, 20), tmp_path, "videopose3d")
    done("report", run, "--data", tmp_path)
    (record,) = blocks(page_of(run / "report.html"))
    (shown,) = record["sequences"]
    (errors,) = shown["runs"]
    assert len(shown["frames"]) == len(errors["mean"]) == len(errors["worst"]) == 160
    assert np.mean(errors["mean"]) / 10 == pytest.approx(said(run)["headline"]["mpjpe"], abs=0.05)
    assert (run / "report.html").stat().st_size < 300_000


# Runs side by side


def test_runs_of_one_protocol_and_the_same_frames_share_a_table_with_the_best_in_bold(
    run: Path, truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path
) -> None:
    worse = scored(tmp_path / "worse", guesses(truth, 40), data, "videopose3d")
    done("report", run, worse, "--data", data, "--out", tmp_path / "page.html")
    page = page_of(tmp_path / "page.html")
    assert "may not be compared" not in page
    assert "INCOMPLETE" not in page
    headline = re.search(r"<table.*?</table>", page, re.S)[0]
    best = re.findall(r"<b>([\d.]+)</b>", headline)
    assert f"{said(run)['headline']['mpjpe']:.2f}" in best
    assert f"{said(worse)['headline']['mpjpe']:.2f}" not in best
    assert [row[0] for row in tables(page)[0][1:]] == ["good", "worse"]


def test_runs_whose_folders_have_one_name_are_told_apart(
    run: Path, truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path
) -> None:
    namesake = scored(tmp_path / run.name, guesses(truth, 40), data, "videopose3d")
    done("report", run, namesake, "--data", data, "--out", tmp_path / "page.html")
    rows = tables(page_of(tmp_path / "page.html"))[0][1:]
    assert [row[0] for row in rows] == [str(run), str(namesake)]


def test_runs_of_two_protocols_never_share_a_table_or_a_chart(
    run: Path, truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path
) -> None:
    other = scored(tmp_path / "other", guesses(truth, 20), data, "strict")
    done("report", run, other, "--data", data, "--out", tmp_path / "page.html")
    page = page_of(tmp_path / "page.html")
    assert "2 groups that may not be compared" in page
    assert "protocols videopose3d and strict" in page
    assert [block["runs"] for block in blocks(page)] == [["good"], ["other"]]
    assert not [table for table in tables(page) if {"good", "other"} <= {row[0] for row in table}]


def test_a_run_on_fewer_frames_is_marked_and_stands_apart(
    run: Path, truth: dict[Sequence, np.ndarray], data: Path, tmp_path: Path
) -> None:
    half = {view: poses[:2] for view, poses in guesses(truth, 5).items()}
    part = scored(tmp_path / "part", half, data, "videopose3d")
    done("report", run, part, "--data", data, "--out", tmp_path / "page.html")
    page = page_of(tmp_path / "page.html")
    assert "part is incomplete: its figures do not cover the protocol." in page
    assert said(part)["problems"][0] in text_of(page)
    assert "part and good: different frames" in page
    assert [block["runs"] for block in blocks(page)] == [["good"], ["part"]]
    assert [row[0] for table in tables(page) for row in table if row[0].startswith("part")] == ["partINCOMPLETE"]


def test_an_incomplete_run_of_bench_is_marked_in_its_own_page(benched: Path, synthetic_data: Path) -> None:
    printed = done("report", benched, "--data", synthetic_data)
    path = benched / "report.html"
    assert printed == f"wrote {path}: {path.stat().st_size:,} bytes, 1 run\n"
    page = page_of(path)
    assert "is incomplete" in page
    assert all(problem in text_of(page) for problem in said(benched)["problems"])
    assert tables(page)[0][1][0] == f"{benched.name}INCOMPLETE"
    assert len(views(page)[0]["poses"][0]["points"]) == len(H36M_16)


def test_several_runs_need_a_place_for_the_page(run: Path, benched: Path, data: Path) -> None:
    result = h36m("report", run, benched, "--data", data)
    assert result.exit_code == 2
    assert "--out FILE.html" in result.stderr


# Refusals: nothing is written


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    """A copy of the run without its marker, to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html", MARKER_NAME)))


def refusal(broken: Path, data: Path) -> str:
    message = refused("report", broken, "--data", data)
    assert not (broken / "report.html").exists()
    return message


def test_a_folder_without_a_report_is_refused(broken: Path, data: Path) -> None:
    (broken / "report.json").unlink()
    message = refusal(broken, data)
    assert f"{broken / 'report.json'}: no such file" in message
    assert "h36m bench" in message


def test_a_folder_without_predictions_is_refused(broken: Path, data: Path) -> None:
    (broken / "predictions.parquet").unlink()
    assert f"{broken / 'predictions.parquet'}: no such file" in refusal(broken, data)


def test_an_altered_file_of_a_finished_run_is_refused(run: Path, data: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "report.json").write_text((run / "report.json").read_text() + " ")
    message = refusal(copy, data)
    assert f"{copy}: altered: report.json" in message
    assert "h36m eval" in message


def test_a_run_without_its_marker_is_shown_as_unfinished(broken: Path, data: Path) -> None:
    done("report", broken, "--data", data)
    page = page_of(broken / "report.html")
    assert f"unfinished: no {MARKER_NAME}" in page
    assert tables(page)[0][1][0] == "copyUNFINISHED"


@pytest.mark.parametrize("text", ["{", "[]", '"', "{}", '{"protocol": {"name": 3}}'])
def test_a_report_that_is_none_is_refused(broken: Path, data: Path, text: str) -> None:
    (broken / "report.json").write_text(text)
    message = refusal(broken, data)
    assert str(broken / "report.json") in message
    assert "score" in message


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("headline", "mpjpe"), 12.5, "headline.mpjpe is 12.5, the predictions beside it give"),
        (("per_action", 3, "p_mpjpe"), 1.0, "per_action[3].p_mpjpe is 1.0"),
        (("problems",), ["a frame is missing"], "problems is"),
        (("provenance", "model"), "yours", 'provenance.model is "yours"'),
        (("mpjpe",), 3.0, "mpjpe is unknown"),
        (("protocol", "mean"), "all frames", "protocol.mean is"),
        (("protocol", "version"), "9", "scored under version 9"),
        (("protocol", "name"), "protocol-1", "no protocol is called 'protocol-1'"),
    ],
)
def test_a_report_edited_by_hand_is_refused(
    broken: Path, data: Path, path: tuple[Any, ...], value: Any, words: str
) -> None:
    report = said(broken)
    inner = report
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (broken / "report.json").write_text(json.dumps(report))
    message = refusal(broken, data)
    assert f"{broken / 'report.json'}: " in message
    assert words in message
    assert "score again" in message


def test_predictions_that_the_report_was_not_made_from_are_refused(
    broken: Path, truth: dict[Sequence, np.ndarray], data: Path
) -> None:
    predictions_of(broken, guesses(truth, 1))
    message = refusal(broken, data)
    assert "was made from predictions with sha256" in message


def test_the_wrong_data_is_named_as_the_reason(benched: Path, data: Path, synthetic_data: Path, tmp_path: Path) -> None:
    message = refused("report", benched, "--data", data, "--out", tmp_path / "page.html")
    assert f"the labels of {data} are not those that the predictions were made on" in message
    assert not (tmp_path / "page.html").exists()


def test_one_bad_run_of_several_leaves_no_page(run: Path, broken: Path, data: Path, tmp_path: Path) -> None:
    (broken / "report.json").write_text("{}")
    refused("report", run, broken, "--data", data, "--out", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_run_named_twice_is_refused(run: Path, data: Path, tmp_path: Path) -> None:
    assert "named twice" in refused("report", run, run, "--data", data, "--out", tmp_path / "page.html")
