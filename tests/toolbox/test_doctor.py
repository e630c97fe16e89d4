from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner

from h36m_toolbox.cli import main
from h36m_toolbox.doctor import examine


def told(folder: Path) -> str:
    return "\n".join(f"{finding.level} {finding.where} {finding.what}" for finding in examine(folder))


def test_a_partial_raw_folder_is_described_by_subject(unpacked: Path) -> None:
    text = told(unpacked)
    assert "note S1 D3_Positions: 2 of 30 files" in text
    assert "note S5 nothing of this subject is here" in text
    assert "note S9/Walking 1 131 poses; the official release has 2446" in text
    assert "problem" not in text


def test_archives_are_described_without_unpacking_them(archives_folder: Path) -> None:
    assert "ok S9 D2_Positions: 0 of 120 files unpacked, archive present" in told(archives_folder)


def test_damaged_and_incomplete_recordings_are_problems(unpacked: Path, tmp_path: Path) -> None:
    shutil.copytree(unpacked, tmp_path / "raw", ignore=shutil.ignore_patterns("*.mp4"))
    world = tmp_path / "raw/S1/MyPoseFeatures/D3_Positions/Walking.cdf"
    world.write_bytes(world.read_bytes()[:400])
    (tmp_path / "raw/S9/MyPoseFeatures/D2_Positions/Walking.54138969.cdf").unlink()
    text = told(tmp_path / "raw")
    assert f"problem S1/Walking {world}: " in text
    assert "problem S9/Walking 1 views without D2_Positions" in text
    result = CliRunner().invoke(main, ["doctor", str(tmp_path / "raw")])
    assert result.exit_code == 1


def test_a_data_folder_is_held_against_the_official_counts(prepared: Path) -> None:
    text = told(prepared)
    assert "note labels train: 238 rows of 1,559,752" in text
    assert "ok images 16 sequences of 840" in text
    assert "ok detections cpn: 994 rows" in text


def test_unfinished_and_damaged_parts_of_a_data_folder_are_problems(prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared / "labels", data / "labels")
    (data / "images" / ".s_01_act_14_subact_01_ca_01.partial").mkdir(parents=True)
    (data / "labels" / "parquet" / "train.parquet").write_bytes(b"PAR1")
    text = told(data)
    assert "problem images 1 unfinished folders" in text
    assert "problem labels" in text


def test_findings_come_as_json_too(prepared: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", str(prepared), "--json"])
    assert result.exit_code == 0
    assert {"level", "where", "what"} == set(json.loads(result.output)[0])
