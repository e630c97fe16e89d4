"""The official MPI-INF-3DHP evaluation, held against the tables of the MATLAB code (GNU Octave)."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from h36m_toolbox.benchmarks.mpi_inf_3dhp.evaluation import (
    GROUPS_OF_17,
    OFFICIAL_GROUPS,
    THRESHOLDS_MM,
    ErrorTable,
    activity_table,
    error_table,
    joint_errors,
    official_csv,
    sequence_table,
)
from h36m_toolbox.benchmarks.mpi_inf_3dhp.files import (
    ACTIVITY_CSV,
    SEQUENCE_CSV,
    read_inference_mat,
    read_test_predictions,
    write_inference_mat,
    write_test_report,
)
from h36m_toolbox.benchmarks.mpi_inf_3dhp.lifting import by_sequence, lifted, lifter_inputs
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import TEST_PROTOCOLS, TestReport, evaluate_test_set
from h36m_toolbox.cli import main
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.lifting import screen_lifting
from h36m_toolbox.models.standardisation import standard_lifting
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations, read_test_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import open_archive
from h36m_toolbox.mpi_inf_3dhp.sequences import image_size
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

GOLDENS = Path(__file__).parents[1] / "data" / "mpi_inf_3dhp"
EDGE_CASES = json.loads((GOLDENS / "edge" / "edge_tables.json").read_text())
OTHERS = json.loads((GOLDENS / "other_implementations.json").read_text())


@pytest.fixture(scope="module")
def truth() -> list[TestAnnotations]:
    return [read_test_annotations(item.annotations, item.name) for item in open_archive(GOLDENS / "test_set").test]


def predictions(name: str) -> dict[str, np.ndarray]:
    return read_inference_mat(GOLDENS / "predictions" / f"inference_data_{name}.mat")


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def assert_same_csv(mine: str, official: str) -> None:
    """Words equal, numbers to 12 digits: the order of a sum is the rest."""
    mine_rows, official_rows = cells(mine), cells(official)
    assert [len(row) for row in mine_rows] == [len(row) for row in official_rows]
    for mine_row, official_row in zip(mine_rows, official_rows, strict=True):
        for mine_cell, official_cell in zip(mine_row, official_row, strict=True):
            try:
                expected = float(official_cell)
            except ValueError:
                assert mine_cell == official_cell
            else:
                np.testing.assert_allclose(float(mine_cell), expected, rtol=1e-12, equal_nan=True)


def assert_same_blocks(table: ErrorTable, official: dict[str, dict[str, dict[str, float | None]]]) -> None:
    names = {"MPJPE": (*MPI_INF_3DHP_17.joints, "Average"), "PCK": table.groups, "AUC": table.groups}
    for block, figures in (("MPJPE", table.mpjpe), ("PCK", table.pck), ("AUC", table.auc)):
        assert tuple(official[block]) == table.rows
        for row, values in zip(table.rows, figures, strict=True):
            expected = official[block][row]
            assert tuple(expected) == names[block]
            wanted = [np.nan if value is None else value for value in expected.values()]
            np.testing.assert_allclose(values, wanted, rtol=1e-12, err_msg=f"{block} {row}")


def headline(report: TestReport) -> tuple[float, float, float]:
    return report.headline.mpjpe[0, -1], report.headline.pck[0, -1], report.headline.auc[0, -1]


@pytest.mark.parametrize(
    ("name", "ground_truth", "protocol"),
    [
        ("a", "univ", "mpi-inf-3dhp"),
        ("a", "annot3", "mpi-inf-3dhp-annot3"),
        ("b", "univ", "mpi-inf-3dhp"),
    ],
)
def test_both_tables_are_those_that_the_matlab_code_writes(
    tmp_path: Path, truth: list[TestAnnotations], name: str, ground_truth: str, protocol: str
) -> None:
    report = evaluate_test_set(predictions(name), truth, TEST_PROTOCOLS[protocol])
    write_test_report(tmp_path, report)
    for mine, official in ((SEQUENCE_CSV, "sequencewise"), (ACTIVITY_CSV, "activitywise")):
        expected = (GOLDENS / "official" / f"{name}_{ground_truth}_{official}.csv").read_text()
        assert_same_csv((tmp_path / mine).read_text(), expected)


@pytest.mark.parametrize("name", ["a", "b"])
def test_every_single_distance_is_the_official_one(truth: list[TestAnnotations], name: str) -> None:
    official = np.load(GOLDENS / "official" / f"{name}_univ_per_joint_error.npz")
    predicted = predictions(name)
    for sequence in truth:
        target = (sequence.universal - sequence.universal[:, [14]])[sequence.valid]
        errors = joint_errors(predicted[sequence.sequence], target)
        np.testing.assert_allclose(errors, official[sequence.sequence], rtol=1e-9, atol=1e-9)


def test_the_pck_curves_are_the_official_ones(truth: list[TestAnnotations]) -> None:
    official = json.loads((GOLDENS / "official" / "a_univ_summary.json").read_text())["pck_curves"]
    report = evaluate_test_set(predictions("a"), truth, TEST_PROTOCOLS["mpi-inf-3dhp"])
    curves = np.concatenate([report.sequences.curves, report.headline.curves])
    assert (*report.sequences.rows, *report.headline.rows) == tuple(official["rows"])
    assert report.sequences.groups == tuple(official["groups"])
    assert list(THRESHOLDS_MM) == official["thresholds_mm"]
    np.testing.assert_allclose(curves, np.array(official["fraction"]), rtol=1e-12)


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_are_answered_as_the_official_evaluator_does(case: str) -> None:
    arrays = np.load(GOLDENS / "edge" / "edge_errors.npz")
    count = EDGE_CASES[case]["n_sequences"]
    errors = [arrays[f"{case}__err_{i}"] for i in range(count)]
    activities = [arrays[f"{case}__act_{i}"] for i in range(count)]
    assert_same_blocks(sequence_table(errors), EDGE_CASES[case]["sequencewise"])
    assert_same_blocks(activity_table(errors, activities), EDGE_CASES[case]["activitywise"])


@pytest.mark.parametrize(("name", "ground_truth"), [("a", "univ"), ("a", "annot3"), ("b", "univ")])
def test_overall_and_scene_figures_are_those_of_the_official_rows(
    truth: list[TestAnnotations], name: str, ground_truth: str
) -> None:
    official = json.loads((GOLDENS / "official" / f"{name}_{ground_truth}_summary.json").read_text())["summary"]
    suffix = "-annot3" if ground_truth == "annot3" else ""
    pooled = evaluate_test_set(predictions(name), truth, TEST_PROTOCOLS[f"mpi-inf-3dhp{suffix}"])
    equal = TEST_PROTOCOLS["mpi-inf-3dhp-d3dp" if suffix else "mpi-inf-3dhp-sequence-mean"]
    averaged = evaluate_test_set(predictions(name), truth, equal)
    for i, block in enumerate(("MPJPE", "PCK", "AUC")):
        np.testing.assert_allclose(headline(pooled)[i], official[block]["frame_weighted"], rtol=1e-12)
        np.testing.assert_allclose(headline(averaged)[i], official[block]["sequence_mean"], rtol=1e-12)
    scenes = np.stack([pooled.scenes.mpjpe[:, -1], pooled.scenes.pck[:, -1], pooled.scenes.auc[:, -1]])
    names = ("studio_green_screen_TS1_TS2", "studio_no_green_screen_TS3_TS4", "outdoor_TS5_TS6")
    expected = [[official[block][scene] for scene in names] for block in ("MPJPE", "PCK", "AUC")]
    np.testing.assert_allclose(scenes, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize(
    ("protocol", "key", "prefix"),
    [
        ("mpi-inf-3dhp-17-joints", "mmpose0_univ_annot3_f64", ""),
        ("mpi-inf-3dhp-mmpose", "mmpose0_annot3_f64", ""),
        ("mpi-inf-3dhp-mmpose-aligned", "mmpose0_annot3_f64", "P-"),
    ],
)
def test_protocols_of_other_implementations_give_their_figures(
    truth: list[TestAnnotations], name: str, protocol: str, key: str, prefix: str
) -> None:
    official = OTHERS[f"pred_{name}"][key]
    mpjpe, pck, auc = headline(evaluate_test_set(predictions(name), truth, TEST_PROTOCOLS[protocol]))
    assert mpjpe == pytest.approx(official[f"{prefix}MPJPE_mm"], rel=1e-9)
    assert pck == pytest.approx(official[f"{prefix}3DPCK"], rel=1e-6)  # a float32 mean there
    assert auc == pytest.approx(official[f"{prefix}3DAUC"], rel=1e-6)


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_lifting_papers_own_mpjpe_zeroes_the_predicted_pelvis(truth: list[TestAnnotations], name: str) -> None:
    official = OTHERS[f"pred_{name}"]["lifting_python_mpjpe_univ_annot3"]
    mpjpe, *_ = headline(evaluate_test_set(predictions(name), truth, TEST_PROTOCOLS["mpi-inf-3dhp-lifting"]))
    assert mpjpe == pytest.approx(official, rel=1e-6)  # float32 there


def test_joint_groups_of_17_pool_every_joint_once() -> None:
    assert sorted(joint for group in GROUPS_OF_17.values() for joint in group) == sorted(MPI_INF_3DHP_17.joints)
    assert sum(map(len, OFFICIAL_GROUPS.values())) == 14


@given(st.lists(st.floats(0, 400), min_size=17 * 3, max_size=17 * 3), st.randoms())
@settings(max_examples=30, deadline=None)
def test_figures_do_not_depend_on_the_order_of_frames(numbers: list[float], random: object) -> None:
    errors = np.array(numbers).reshape(3, 17)
    table, turned = error_table({"x": errors}), error_table({"x": errors[::-1]})
    np.testing.assert_allclose(table.mpjpe, turned.mpjpe, rtol=1e-12)
    np.testing.assert_array_equal(table.curves, turned.curves)
    assert (np.diff(table.curves, axis=-1) >= 0).all()


def test_inference_data_survives_writing_and_reading(tmp_path: Path) -> None:
    original = predictions("b")
    write_inference_mat(tmp_path / "inference_data.mat", original)
    again = read_inference_mat(tmp_path / "inference_data.mat")
    assert list(again) == list(original)
    for name, poses in original.items():
        np.testing.assert_array_equal(again[name], poses)


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_few_frames_survive_matlab_dropping_dimensions(tmp_path: Path, frames: int) -> None:
    poses = np.arange(frames * 51.0).reshape(frames, 17, 3)
    write_inference_mat(tmp_path / "x.mat", {"TS1": poses})
    np.testing.assert_array_equal(read_inference_mat(tmp_path / "x.mat")["TS1"], poses)


def test_inference_data_of_matlab_73_is_read_too(tmp_path: Path) -> None:
    poses = predictions("a")["TS1"]
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["TS1"] = poses[:, None]
    np.testing.assert_array_equal(read_inference_mat(tmp_path / "x.mat")["TS1"], poses)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"\x00" * 600, b"\x89HDF\r\n\x1a\n" + b"x" * 600])
def test_a_file_that_is_no_inference_data_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inference_data.mat"
    path.write_bytes(content)
    with pytest.raises(H36MError, match=r"inference_data\.mat"):
        read_inference_mat(path)


def test_predictions_of_another_shape_are_refused(tmp_path: Path) -> None:
    import scipy.io

    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"TS1": np.zeros((17, 3, 1, 5))})
    with pytest.raises(H36MError, match="17 x 3 x 1 x 5, expected 3 x 17 x 1 x frames"):
        read_inference_mat(path)
    scipy.io.savemat(path, {"other": 1.0})
    with pytest.raises(H36MError, match="none of the variables TS1"):
        read_inference_mat(path)


def test_predictions_for_all_frames_instead_of_the_valid_ones_are_refused(truth: list[TestAnnotations]) -> None:
    poses = {**predictions("a"), "TS1": np.zeros((len(truth[0].valid), 17, 3))}
    with pytest.raises(H36MError, match=r"TS1.*give the valid frames only"):
        evaluate_test_set(poses, truth, TEST_PROTOCOLS["mpi-inf-3dhp"])


def test_metres_and_absolute_poses_are_refused_unless_so_stated(truth: list[TestAnnotations]) -> None:
    official = TEST_PROTOCOLS["mpi-inf-3dhp"]
    metres = {name: poses / 1000 for name, poses in predictions("a").items()}
    with pytest.raises(H36MError, match="look like metres"):
        evaluate_test_set(metres, truth, official)
    absolute = {name: poses + 4000 for name, poses in predictions("a").items()}
    with pytest.raises(H36MError, match="relative to the pelvis"):
        evaluate_test_set(absolute, truth, official)
    assert evaluate_test_set(metres, truth, official, as_stated=True).headline.mpjpe[0, -1] > 0


def test_a_missing_sequence_is_named(truth: list[TestAnnotations]) -> None:
    poses = predictions("a")
    del poses["TS4"]
    with pytest.raises(H36MError, match="TS3, TS5"):
        evaluate_test_set(poses, truth, TEST_PROTOCOLS["mpi-inf-3dhp"])


def test_the_layout_of_the_csv_is_the_official_one() -> None:
    rows = cells(official_csv(sequence_table([np.zeros((1, 17))]), "seq"))
    assert rows[0] == [f"seq_table{i}" for i in range(1, 20)]
    assert {len(row) for row in rows} == {19}
    assert [row[0] for row in rows[1:]] == ["", "TestSeq1", "PCK", "TestSeq1", "AUC", "TestSeq1"]


def test_every_protocol_of_the_family_is_listed_by_the_command() -> None:
    listed = CliRunner().invoke(main, ["protocols"]).output
    assert all(f"{name}\n" in listed for name in TEST_PROTOCOLS)


class _Flat(nn.Module):
    """A lifter whose pose is the flat 2D input, 5 m beside the origin."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([inputs, torch.zeros_like(inputs[..., :1])], dim=-1) + 5


def lift(network: nn.Module, truth: list[TestAnnotations], joints: int = 17) -> dict[str, np.ndarray]:
    contract = screen_lifting(joints)
    normaliser = contract.normaliser(no_training_set, {})
    inputs = lifter_inputs(contract, normaliser, truth)
    return by_sequence(lifted(network, contract, normaliser, inputs), truth)


def no_training_set() -> Any:
    raise AssertionError("screen units are not measured")


@pytest.mark.parametrize("joints", [16, 17])
def test_a_lifter_of_human36m_sees_and_answers_in_mapped_joints(truth: list[TestAnnotations], joints: int) -> None:
    predicted = lift(_Flat(), truth, joints)
    for sequence in truth:
        width, _ = image_size(sequence.sequence)
        pixels = sequence.image[sequence.valid].copy()
        if joints == 16:  # head lies halfway between neck and head_top
            pixels[:, 16] = (pixels[:, 0] + pixels[:, 1]) / 2
        expected = (pixels - pixels[:, [14]]) * 2 / width * 1000
        np.testing.assert_allclose(predicted[sequence.sequence][..., :2], expected, atol=2e-3)  # float32 around 5 m
        assert not predicted[sequence.sequence][..., 2].any()
    assert evaluate_test_set(predicted, truth, TEST_PROTOCOLS["mpi-inf-3dhp"]).headline.frames[0] == 235


def test_a_network_of_other_joints_than_its_contract_is_refused(truth: list[TestAnnotations]) -> None:
    assert lift(create_model("semgcn", joints=17), truth[:1])["TS1"].shape == (22, 17, 3)
    with pytest.raises(H36MError, match="its contract says 17 joints"):
        lift(_Short(), truth[:1])


def test_standard_units_see_a_pose_wherever_an_image_of_its_width_shows_it(truth: list[TestAnnotations]) -> None:
    outdoors = next(sequence for sequence in truth if sequence.sequence == "TS5")
    contract = standard_lifting()
    state = {
        **{"mean_2d": np.full((16, 2), 500.0), "std_2d": np.full((16, 2), 100.0)},
        **{"mean_3d": np.zeros((17, 3)), "std_3d": np.ones((17, 3))},
    }
    found = lifter_inputs(contract, contract.normaliser(no_training_set, state), [outdoors])
    pelvis = outdoors.image[outdoors.valid][:, 14]
    np.testing.assert_allclose(found[:, 0], (pelvis - [960, 540]) * (1000 / 1920) / 100, atol=1e-6)


class _Short(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.new_zeros(len(inputs), 16, 3)


def test_an_npz_of_predictions_is_read_as_the_mat_file_is(tmp_path: Path) -> None:
    original = predictions("a")
    np.savez(tmp_path / "x.npz", **original)
    for name, poses in read_test_predictions(tmp_path / "x.npz").items():
        np.testing.assert_array_equal(poses, original[name])
    np.savez(tmp_path / "y.npz", TS1=np.zeros((3, 17, 2)))
    with pytest.raises(H36MError, match=r"TS1 \(3, 17, 2\); expected TS1 to TS6"):
        read_test_predictions(tmp_path / "y.npz")
