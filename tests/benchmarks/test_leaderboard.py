import math
import multiprocessing
import threading
import time
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from h36m_toolbox.benchmarks.leaderboard import COLUMNS, LeaderboardRow, append_row, ranked_table, read_leaderboard
from h36m_toolbox.errors import H36MError

ROW = LeaderboardRow(
    run="2025-01-01-semgcn",
    date="2025-01-01T00:00:00+00:00",
    model="semgcn",
    options='{"non_local": true}',
    weights_sha256="6e84",
    parameters=434703,
    detections="gt",
    detections_sha256="ab",
    split="val",
    protocol="semgcn",
    protocol_version=1,
    mpjpe_mm=40.78,
    p_mpjpe_mm=0.1 + 0.2,
    n_mpjpe_mm=39.5,
    mpjve_mm=2.25,
    pck150=99.0,
    auc=80.0,
    mean="action",
    frames=543344,
    incomplete=False,
    data_fingerprint="cd",
    h36m_version="0.1.0",
    device="NVIDIA H100, 80 GB",
    poses_per_s=1e5,
    predictions_sha256="ef",
)


def test_rows_come_back_in_order_with_every_digit(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, run='comma, "quote"\nand a new line', incomplete=True), replace(ROW, mpjve_mm=1 / 3)]
    for row in rows:
        append_row(tmp_path / "runs" / "leaderboard.csv", row)
    assert read_leaderboard(tmp_path / "runs" / "leaderboard.csv") == rows
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["leaderboard.csv"]


def test_a_figure_that_is_not_defined_stays_nan(tmp_path: Path) -> None:
    append_row(tmp_path / "l.csv", replace(ROW, mpjve_mm=math.nan))
    assert math.isnan(read_leaderboard(tmp_path / "l.csv")[0].mpjve_mm)


def append_some(path: Path, writer: int, count: int, start: Barrier) -> None:
    start.wait()
    for i in range(count):
        append_row(path, replace(ROW, run=f"{writer}-{i}"))


def test_no_row_is_lost_when_processes_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    writers = [context.Process(target=append_some, args=(path, writer, 20, start)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    runs = [row.run for row in read_leaderboard(path)]
    assert sorted(runs) == sorted(f"{writer}-{i}" for writer in range(4) for i in range(20))
    for writer in range(4):
        assert [run for run in runs if run.startswith(f"{writer}-")] == [f"{writer}-{i}" for i in range(20)]
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.csv"]


@pytest.mark.parametrize("content", ["4242 a process that died", ""])
def test_a_lock_left_by_a_dead_process_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / ".l.csv.lock").write_text(content)
    append_row(tmp_path / "l.csv", ROW, stale_after_s=0.1)
    assert read_leaderboard(tmp_path / "l.csv") == [ROW]
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]


def test_a_lock_in_use_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / ".l.csv.lock"
    lock.write_text("somebody alive")
    writer = threading.Thread(target=append_row, args=(tmp_path / "l.csv", ROW))
    writer.start()
    time.sleep(0.1)
    assert not (tmp_path / "l.csv").exists()
    lock.unlink()
    writer.join(10)
    assert read_leaderboard(tmp_path / "l.csv") == [ROW]


def test_a_row_without_a_number_to_rank_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="new leaderboard row, column mpjpe_mm: found nan"):
        append_row(tmp_path / "l.csv", replace(ROW, mpjpe_mm=math.nan))
    with pytest.raises(H36MError, match="column mean: found 'median', expected action or frame"):
        append_row(tmp_path / "l.csv", replace(ROW, mean="median"))
    assert not (tmp_path / "l.csv").exists()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("mpjpe_mm", "40,78", "found '40,78', expected a number"),
        ("mpjpe_mm", "inf", "found inf, expected a finite number"),
        ("frames", "many", "found 'many', expected a whole number"),
        ("incomplete", "FALSE", "found 'FALSE', expected true or false"),
        ("mean", "", "found '', expected action or frame"),
    ],
)
def test_a_hand_edited_cell_is_named_by_line_and_column(tmp_path: Path, column: str, value: str, message: str) -> None:
    path = tmp_path / "l.csv"
    append_row(path, ROW)
    append_row(path, replace(ROW, run="second"))
    lines = path.read_text().splitlines()
    cells = ['"2025, edited"'] + ["x"] * (len(COLUMNS) - 1)
    for place, name in enumerate(COLUMNS[1:], start=1):
        original = getattr(ROW, name)
        text = str(original).lower() if isinstance(original, bool) else str(original)
        cells[place] = '"' + (value if name == column else text).replace('"', '""') + '"'
    path.write_text("\n".join([*lines, ",".join(cells)]) + "\n")
    with pytest.raises(H36MError, match=f"l.csv, line 4, column {column}: {message}"):
        read_leaderboard(path)
    before = path.read_bytes()
    with pytest.raises(H36MError, match="line 4"):
        append_row(path, ROW)
    assert path.read_bytes() == before


def test_files_that_are_no_leaderboard_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    with pytest.raises(H36MError, match="no such file"):
        read_leaderboard(path)
    path.write_text("")
    with pytest.raises(H36MError, match="line 1: no leaderboard of this version; columns missing: run, date"):
        read_leaderboard(path)
    header = ",".join(COLUMNS)
    path.write_text(header.replace("pck150", "pck") + "\n")
    with pytest.raises(H36MError, match="missing: pck150, unknown: pck;"):
        read_leaderboard(path)
    path.write_text(header.replace("run,date", "date,run") + "\n")
    with pytest.raises(H36MError, match="line 1, column date: out of order"):
        read_leaderboard(path)
    path.write_text(header + "\na,b,c\n")
    with pytest.raises(H36MError, match="line 2: 3 cells, up to column model; expected 25"):
        read_leaderboard(path)
    path.write_text(header + '\n"a\n')
    with pytest.raises(H36MError, match="no readable CSV"):
        read_leaderboard(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(H36MError, match="no UTF-8 text"):
        read_leaderboard(path)


def test_runs_are_ranked_within_their_protocol_only() -> None:
    rows = [
        replace(ROW, model="worse", mpjpe_mm=50.0),
        replace(ROW, model="better", mpjpe_mm=40.0),
        replace(ROW, model="partial", mpjpe_mm=1.0, incomplete=True),
        replace(ROW, model="elsewhere", mpjpe_mm=30.0, protocol="strict", mpjve_mm=math.nan),
        replace(ROW, model="newer", mpjpe_mm=20.0, protocol_version=2),
    ]
    table = ranked_table(rows)
    places = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("|") and "---" not in line]
    assert [(place.strip(), model.strip()) for place, model in places] == [
        ("", "model"),
        ("1", "better"),
        ("2", "worse"),
        ("incomplete", "partial"),
        ("", "model"),
        ("1", "newer"),
        ("", "model"),
        ("1", "elsewhere"),
    ]
    assert [line for line in table.splitlines() if line.startswith("##")] == [
        "## semgcn, version 1, action mean, val",
        "## semgcn, version 2, action mean, val",
        "## strict, version 1, action mean, val",
    ]
    assert "elsewhere" not in ranked_table(rows, protocol="semgcn")
    assert "| 0.30 | 39.50 | - | 99.00 |" in ranked_table(rows, protocol="strict")


def test_a_table_of_nothing_says_so() -> None:
    assert ranked_table([]) == "No runs yet.\n"
    with pytest.raises(H36MError, match=r"under 'martinez'; there are semgcn$"):
        ranked_table([ROW], protocol="martinez")


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert r"| a\|b |" in ranked_table([replace(ROW, model="a|b")])
