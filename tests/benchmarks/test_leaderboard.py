"""The leaderboard file: what comes back, who may write at once, what is refused, older files."""

import math
import multiprocessing
import threading
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from filelock import FileLock

from h36m_toolbox.benchmarks.standings import leaderboard
from h36m_toolbox.benchmarks.standings.leaderboard import COLUMNS, LeaderboardRow, append_row, read_leaderboard
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
    manifest_sha256="12",
    official=True,
    **dict.fromkeys(COLUMNS[27:], 1.5),
)


def names(folder: Path) -> list[str]:
    """What a user sees; the lock's own file is hidden and may stay."""
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_rows_come_back_in_order_with_every_digit(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, run='comma, "quote"\nand a new line', incomplete=True), replace(ROW, mpjve_mm=1 / 3)]
    for row in rows:
        append_row(tmp_path / "runs" / "leaderboard.csv", row)
    assert read_leaderboard(tmp_path / "runs" / "leaderboard.csv") == rows
    assert names(tmp_path / "runs") == ["leaderboard.csv"]


def test_a_figure_that_is_not_defined_stays_nan(tmp_path: Path) -> None:
    append_row(tmp_path / "l.csv", replace(ROW, mpjve_mm=math.nan, parameters=None))
    (row,) = read_leaderboard(tmp_path / "l.csv")
    assert math.isnan(row.mpjve_mm)
    assert row.parameters is None
    assert ",nan" not in (tmp_path / "l.csv").read_text()


def test_a_run_has_one_row_where_that_is_asked_for(tmp_path: Path) -> None:
    for _ in range(2):
        append_row(tmp_path / "l.csv", ROW, once=True)
    append_row(tmp_path / "l.csv", replace(ROW, run="other"), once=True)
    assert [row.run for row in read_leaderboard(tmp_path / "l.csv")] == [ROW.run, "other"]


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
    assert names(tmp_path) == ["leaderboard.csv"]


def test_a_lock_in_use_is_waited_for(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".l.csv.lock"):
        writer = threading.Thread(target=append_row, args=(tmp_path / "l.csv", ROW))
        writer.start()
        writer.join(0.2)
        assert not (tmp_path / "l.csv").exists()
    writer.join(10)
    assert read_leaderboard(tmp_path / "l.csv") == [ROW]


def test_a_lock_that_nobody_gives_up_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "_PATIENCE_S", 0.05)
    with (
        FileLock(tmp_path / ".l.csv.lock"),
        pytest.raises(H36MError, match=r"l\.csv: another process has been writing it .* --resume"),
    ):
        append_row(tmp_path / "l.csv", ROW)
    assert not (tmp_path / "l.csv").exists()


def test_an_older_file_is_read_and_gets_the_new_columns_with_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    append_row(path, ROW)
    lines = [line.split(",") for line in path.read_text().replace('"NVIDIA H100, 80 GB"', "GPU").splitlines()]
    older = [name for name in COLUMNS if name not in ("manifest_sha256", "symmetry_mm", "official")]
    kept = [COLUMNS.index(name) for name in older]
    path.write_text("\n".join(",".join(line[place] for place in kept) for line in lines) + "\n")
    (row,) = read_leaderboard(path)
    assert (row.manifest_sha256, row.official, row.mpjpe_mm) == ("", False, 40.78)
    assert math.isnan(row.symmetry_mm)
    append_row(path, ROW)
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    old, new = read_leaderboard(path)
    assert (old.manifest_sha256, new.manifest_sha256) == ("", "12")
    assert new == ROW


def test_a_row_without_a_number_to_rank_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="new leaderboard row, column mpjpe_mm: found nan"):
        append_row(tmp_path / "l.csv", replace(ROW, mpjpe_mm=math.nan))
    with pytest.raises(H36MError, match="column mean: found 'median', expected action or frame or sequence"):
        append_row(tmp_path / "l.csv", replace(ROW, mean="median"))
    assert not (tmp_path / "l.csv").exists()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("mpjpe_mm", "40,78", "found '40,78', expected a number"),
        ("mpjpe_mm", "inf", "found inf, expected a finite number"),
        ("frames", "many", "found 'many', expected a whole number"),
        ("incomplete", "FALSE", "found 'FALSE', expected true or false"),
        ("mean", "", "found '', expected action or frame or sequence"),
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
    path.write_text(header + ",run\n")
    with pytest.raises(H36MError, match="line 1: column run is there twice"):
        read_leaderboard(path)
    path.write_text(header + "\na,b,c\n")
    with pytest.raises(H36MError, match="line 2: 3 cells, up to column model; expected 37"):
        read_leaderboard(path)
    path.write_text(header + '\n"a\n')
    with pytest.raises(H36MError, match="no readable CSV"):
        read_leaderboard(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(H36MError, match="no UTF-8 text"):
        read_leaderboard(path)
