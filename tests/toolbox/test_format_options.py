"""Switches of single formats, as the command takes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_data import digests, done, h36m, refused

from h36m_toolbox import RawArchive
from h36m_toolbox.commands.labels import command
from h36m_toolbox.detections.bundles import read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.registry import FORMATS, FormatOptions, read_format, unused_options, write_format
from h36m_toolbox.mpi_inf_3dhp.preparation import FORMATS as MPI_INF_3DHP_FORMATS
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.storage.safe_pickle import read_object_npy


def test_the_command_offers_every_format_and_every_option() -> None:
    parameters = {parameter.name: parameter for parameter in command.params}
    assert tuple(parameters["formats"].type.choices) == tuple(dict.fromkeys((*FORMATS, *MPI_INF_3DHP_FORMATS)))
    options = {option for format_ in FORMATS.values() for option in format_.options}
    assert options == set(vars(FormatOptions()))
    assert options <= set(parameters)


@pytest.mark.parametrize(
    ("switch", "format_"),
    [
        (("--without-images",), "parquet"),
        (("--detections", "cpn"), "toolbox"),
        (("--test-step", "5"), "mmpose"),
        (("--mmpose-fps", "10"), "integral"),
        (("--mmpose-misaligned",), "videopose3d"),
        (("--images", "link"), "integral"),
    ],
)
def test_a_switch_that_no_format_uses_is_bad_usage(
    synthetic_raw: Path, tmp_path: Path, switch: tuple[str, ...], format_: str
) -> None:
    result = h36m("labels", synthetic_raw, "--out", tmp_path / "data", "--format", format_, *switch)
    assert result.exit_code == 2
    assert f"{switch[0]}: of no use to --format {format_}" in result.stderr
    assert not (tmp_path / "data" / "labels").exists()


def test_one_format_that_uses_a_switch_is_enough() -> None:
    assert unused_options(("parquet", "multiview"), ("test_step",)) == []
    assert unused_options(("parquet", "multiview"), ("test_step", "images")) == ["images"]


def test_every_5th_test_frame_gives_the_official_labels_of_that_step(
    archives_folder: Path, golden_folder: Path, tmp_path: Path
) -> None:
    formats = ("--format", "h36m-fetch", "--format", "multiview")
    done("labels", archives_folder, "--out", tmp_path, "--test-step", 5, "--jobs", 1, *formats)
    name = "human36m-multiview-labels-GTbboxes.npy"
    ours = read_object_npy(tmp_path / "labels" / "multiview" / name)
    official = read_object_npy(golden_folder / "multiview_labels_test_every_5th.npy")
    assert len(ours["table"]) == len(official["table"]) == 72
    np.testing.assert_array_equal(ours["table"], official["table"])
    frames = read_format("h36m-fetch", tmp_path, "val").column("frame").to_numpy()
    assert set(np.diff(frames[frames.argsort(kind="stable")])) == {0, 5}


def test_mmpose_frame_rates_are_those_asked_for(synthetic_raw: Path, tmp_path: Path) -> None:
    done("labels", synthetic_raw, "--out", tmp_path, "--format", "mmpose", "--mmpose-fps", 25, "--mmpose-fps", 5)
    folder = tmp_path / "labels" / "mmpose" / "annotation_body3d"
    assert sorted(path.name for path in folder.iterdir()) == ["cameras.pkl", "fps25", "fps5"]
    assert set(read_format("mmpose", tmp_path).column("frame").to_pylist()) == {0, 2, 4, 6}


def test_mmpose_is_misaligned_only_on_request(synthetic_raw: Path, tmp_path: Path) -> None:
    name = "mmpose/annotation_body3d/fps50/h36m_test.npz"
    counts = {}
    for switches in ((), ("--mmpose-misaligned",)):
        done("labels", synthetic_raw, "--out", tmp_path, "--format", "mmpose", "--jobs", 1, *switches)
        content = np.load(tmp_path / "labels" / name)
        counts[switches] = (len(content["imgname"]), len(content["S"]))
    assert counts == {(): (376, 376), ("--mmpose-misaligned",): (376, 384)}


def test_poseformers_records_take_the_detections_asked_for(
    synthetic_raw: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(synthetic_data / "detections", tmp_path / "detections")
    (tmp_path / "detections" / "own.parquet").symlink_to(tmp_path / "detections" / "gt.parquet")
    switches = ("--format", "poseformer", "--without-images", "--jobs", 1)
    done("labels", synthetic_raw, "--out", tmp_path, *switches, "--detections", "own")
    read = pose_array(read_format("poseformer", tmp_path, "train"), "joints_2d_cpn")
    own = pose_array(read_detections(tmp_path, "own"), "joints_2d")[: len(read)]
    np.testing.assert_allclose(read, own, rtol=2.0**-22)
    before = digests(tmp_path / "labels")
    message = refused("labels", synthetic_raw, "--out", tmp_path, *switches, "--detections", "hrnet")
    assert "no HRNET detections, which poseformer needs" in message
    assert "--add hrnet=FILE`" in message
    assert digests(tmp_path / "labels") == before


def test_a_rate_that_does_not_divide_50_is_refused(synthetic_raw: Path, tmp_path: Path) -> None:
    options = FormatOptions(mmpose_fps=(50, 20))
    with pytest.raises(H36MError, match="expected rates that divide 50"):
        write_format("mmpose", RawArchive.open(synthetic_raw), tmp_path, options)
    assert not (tmp_path / "labels").exists()
