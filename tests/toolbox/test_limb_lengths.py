from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic_data import done, refused

from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.limb_lengths import (
    LIMBS,
    limb_lengths,
    limb_statistics,
    training_limb_lengths,
    write_limb_statistics,
)
from h36m_toolbox.skeletons import H36M_17, MULTIVIEW_17


def test_statistics_equal_contextposes_file(prepared: Path, golden_folder: Path, tmp_path: Path) -> None:
    golden = json.loads((golden_folder / "mean_and_std_limb_length.json").read_text())
    statistics, table = write_limb_statistics(tmp_path, training_limb_lengths(prepared))
    with h5py.File(statistics) as file:
        for name in ("mean", "std"):
            assert file[name].dtype == np.float64
            np.testing.assert_allclose(file[name][()], golden[name], rtol=0, atol=1e-4)
    assert table.read_text().startswith("subject,limb,mean_mm,std_mm,poses\nS1,RFoot-RKnee,429.4279,1.3255,39\n")


def test_statistics_of_five_training_subjects_equal_contextposes_script() -> None:
    golden = np.load(Path(__file__).parents[1] / "data" / "pelvis" / "cp_limb_length.npz")
    training = golden["subject_idx"] < 5  # S1, S5, S6, S7, S8
    found = limb_statistics(limb_lengths(golden["keypoints"][training], MULTIVIEW_17.joints))
    for name in ("mean", "std"):
        np.testing.assert_allclose(getattr(found, name), golden[name], rtol=0, atol=1e-4)
    assert found.poses == 300


def test_the_table_has_a_line_a_subject_and_limb_and_the_command_prints_the_same(
    prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(prepared / "labels" / "parquet", tmp_path / "labels" / "parquet")
    printed = done("stats", tmp_path)
    lines = (tmp_path / "stats" / "limb_lengths.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [[who, "-".join(limb)] for who in ("S1", "all") for limb in LIMBS]
    assert "| RFoot-RKnee | 429.43 ± 1.33 | 429.43 ± 1.33 |" in printed


def test_labels_without_a_training_subject_are_refused(prepared: Path, tmp_path: Path) -> None:
    labels = read_labels(prepared, "train")
    (tmp_path / "labels" / "parquet").mkdir(parents=True)
    pq.write_table(labels.slice(0, 0), tmp_path / "labels" / "parquet" / "train.parquet")
    assert "has no training subject" in refused("stats", tmp_path)


def test_limbs_are_contextposes_pairs() -> None:
    pairs = [tuple(MULTIVIEW_17.joints.index(joint) for joint in limb) for limb in LIMBS]
    assert pairs == [
        *((0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6), (6, 7), (7, 8), (8, 16), (9, 16), (8, 12)),
        *((11, 12), (10, 11), (8, 13), (13, 14), (14, 15)),
    ]


def test_lengths_do_not_change_when_the_figure_moves() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(5, 17, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    there = limb_lengths(poses, H36M_17.joints)
    np.testing.assert_allclose(limb_lengths(poses @ rotation + 7, H36M_17.joints), there)


def test_every_instant_counts_once_not_once_a_view(prepared: Path) -> None:
    assert {subject: len(lengths) for subject, lengths in training_limb_lengths(prepared, "all").items()} == {"S1": 60}


def test_an_unknown_selection_is_refused(prepared: Path) -> None:
    with pytest.raises(H36MError, match="there are h36m-fetch, all"):
        training_limb_lengths(prepared, "some")
