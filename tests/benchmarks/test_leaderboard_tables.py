"""`h36m leaderboard`: who is ranked with whom, what a run's folder must be, and the four ways to print."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_data import ACTIONS, done, h36m, refused
from test_leaderboard import ROW

from h36m_toolbox.benchmarks.manifests import official_manifest
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.standings.leaderboard import LeaderboardRow, append_row, read_leaderboard
from h36m_toolbox.benchmarks.standings.rankings import Choice, leaderboard_of

pytestmark = pytest.mark.usefixtures("one_thread")

OFFICIAL = official_manifest(PROTOCOLS["semgcn"])


def board(folder: Path, *rows: LeaderboardRow) -> Path:
    """RUNS with a leaderboard of rows whose folders are elsewhere."""
    for number, row in enumerate(rows):
        append_row(folder / "leaderboard.csv", replace(row, run=row.run if row.run != ROW.run else f"run-{number}"))
    return folder


def printed_as(runs: Path, *words: str) -> str:
    """What the command prints on stdout; what is wrong with runs goes to stderr."""
    return h36m("leaderboard", "--runs", runs, *words).stdout


def rankings(runs: Path, **choice: object) -> dict[str, list[tuple[str, str]]]:
    """Place and model of every entry, by title."""
    found = leaderboard_of(runs, Choice(**choice)).rankings
    return {ranking.title: [(entry.place, entry.model) for entry in ranking.entries] for ranking in found}


@pytest.fixture(scope="module")
def benched(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNS with two runs on a protocol that the data cover, and one that they do not."""
    runs = tmp_path_factory.mktemp("benched")
    words = ("--data", synthetic_data, "--runs", runs, "--untrained", "--device", "cpu")
    narrow = ("--actions", ",".join(ACTIONS))
    done("bench", "--model", "semgcn", *words, *narrow)
    done("bench", "--model", "martinez", *words, *narrow)
    done("bench", "--model", "semgcn", *words)
    return runs


def test_runs_are_ranked_within_protocol_version_frames_and_split_only(tmp_path: Path) -> None:
    runs = board(
        tmp_path,
        replace(ROW, model="worse", mpjpe_mm=50.0),
        replace(ROW, model="better", mpjpe_mm=40.0),
        replace(ROW, model="partial", mpjpe_mm=1.0, incomplete=True),
        replace(ROW, model="elsewhere", mpjpe_mm=30.0, protocol="strict"),
        replace(ROW, model="newer", mpjpe_mm=20.0, protocol_version=2),
        replace(ROW, model="fewer", mpjpe_mm=10.0, manifest_sha256="34", official=False, frames=100),
        replace(ROW, model="learnt", mpjpe_mm=5.0, split="train"),
    )
    assert rankings(runs) == {
        "semgcn, version 1, action mean, train, the official frames": [("1", "learnt")],
        "semgcn, version 1, action mean, val, the official frames": [
            ("1", "better"),
            ("2", "worse"),
            ("incomplete", "partial"),
        ],
        "semgcn, version 1, action mean, val, 100 frames, 34": [("1", "fewer")],
        "semgcn, version 2, action mean, val, the official frames": [("1", "newer")],
        "strict, version 1, action mean, val, the official frames": [("1", "elsewhere")],
    }


def test_a_choice_is_kept_to_and_words_of_no_row_are_refused(tmp_path: Path) -> None:
    runs = board(tmp_path, ROW, replace(ROW, model="martinez", detections="sh", protocol="strict", split="train"))
    for choice in ({"protocol": "strict"}, {"model": "martinez"}, {"detections": "sh"}, {"split": "train"}):
        assert list(rankings(runs, **choice).values()) == [[("1", "martinez")]]
    words = ("leaderboard", "--runs", runs)
    assert "no run was scored under 'martinez'; there are semgcn, strict" in refused(*words, "--protocol", "martinez")
    assert "no run has the model 'posenet'; there are semgcn, martinez" in refused(*words, "--model", "posenet")
    assert "no run has the split 'val'" in refused(*words, "--model", "martinez", "--split", "val")


def test_nothing_but_the_header_says_so(tmp_path: Path) -> None:
    append_row(tmp_path / "leaderboard.csv", ROW)
    header = (tmp_path / "leaderboard.csv").read_text().splitlines()[0]
    (tmp_path / "leaderboard.csv").write_text(header + "\n")
    assert done("leaderboard", "--runs", tmp_path) == "No runs yet.\n"


# Folders as evidence


def test_whole_runs_are_ranked_and_partial_ones_listed(benched: Path) -> None:
    whole, partial = sorted(rankings(benched).values(), key=len, reverse=True)
    assert [place for place, _ in whole] == ["1", "2"]
    assert partial == [("incomplete", "semgcn")]
    assert h36m("leaderboard", "--runs", benched).stderr == ""


def copied(benched: Path, runs: Path) -> tuple[Path, Path]:
    """RUNS of its own, and the folder of the best run in it."""
    for path in benched.rglob("*"):
        if path.is_file():
            target = runs / path.relative_to(benched)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (best,) = (
        entry.run
        for ranking in leaderboard_of(runs, Choice()).rankings
        for entry in ranking.entries
        if entry.place == "1"
    )
    return runs, runs / best


@pytest.mark.parametrize(
    ("file", "state", "told"),
    [
        ("complete.json", "unfinished", "unfinished: no complete.json, which a run writes last"),
        ("report.json", "altered", "altered: report.json is missing"),
    ],
)
def test_a_folder_that_is_no_evidence_has_no_place(
    benched: Path, tmp_path: Path, file: str, state: str, told: str
) -> None:
    runs, best = copied(benched, tmp_path / "runs")
    (best / file).unlink()
    result = h36m("leaderboard", "--runs", runs)
    assert result.stderr == f"{best.name}: {told}\n"
    (line,) = (line for line in result.stdout.splitlines() if best.name in line)
    assert line.startswith(state)
    other = "martinez" if best.name.startswith("semgcn") else "semgcn"
    assert [("1", other), (state, best.name.partition("-")[0])] in rankings(runs).values()


def test_an_edited_report_and_an_edited_row_are_noticed(benched: Path, tmp_path: Path) -> None:
    runs, best = copied(benched, tmp_path / "one")
    record = json.loads((best / "report.json").read_text())
    record["headline"]["mpjpe"] = 1.0
    (best / "report.json").write_text(json.dumps(record))
    assert f"{best.name}: altered: report.json is not the file" in h36m("leaderboard", "--runs", runs).stderr
    runs, best = copied(benched, tmp_path / "two")
    rows = read_leaderboard(runs / "leaderboard.csv")
    (runs / "leaderboard.csv").unlink()
    for row in rows:
        append_row(runs / "leaderboard.csv", replace(row, p_mpjpe_mm=1.0) if row.run == best.name else row)
    told = h36m("leaderboard", "--runs", runs).stderr
    assert f"{best.name}: altered: leaderboard.csv has p_mpjpe_mm 1.0, the run's report " in told


def test_folders_without_a_row_and_rows_without_a_folder_are_told(benched: Path, tmp_path: Path) -> None:
    runs, best = copied(benched, tmp_path / "runs")
    rows = [row for row in read_leaderboard(runs / "leaderboard.csv") if row.run != best.name]
    (runs / "leaderboard.csv").unlink()
    board(runs, *rows, replace(ROW, run="of-another-machine"))
    (runs / "half").mkdir()
    (runs / "half" / "report.json").write_text("{")
    (runs / "train-semgcn-gt").mkdir()
    said = h36m("leaderboard", "--runs", runs).stderr
    assert f"{best.name}: finished, but has no row" in said
    assert "half: unfinished: no complete.json" in said
    assert f"of-another-machine: no such folder in {runs}" in said
    assert "train-semgcn-gt" not in said


# Published figures


def test_published_figures_stand_beside_runs_on_the_official_frames_without_a_place(tmp_path: Path) -> None:
    assert OFFICIAL is not None
    runs = board(
        tmp_path,
        replace(ROW, model="mine", mpjpe_mm=41.5, manifest_sha256=OFFICIAL.sha256),
        replace(ROW, model="small", mpjpe_mm=1.0, manifest_sha256="34", official=False),
    )
    found = rankings(runs, published=True, protocol="semgcn", detections="gt")
    beside = found["semgcn, version 1, action mean, val, the official frames"]
    assert beside == [
        ("published", "SemGCN (non-local) (CVPR 2019)"),
        ("1", "mine"),
        ("published", "SemGCN (CVPR 2019)"),
        ("published", "Martinez SimpleBaseline (SemGCN repo) (ICCV 2017)"),
    ]
    assert found["semgcn, version 1, action mean, val, 100 frames, 34".replace("100", "543,344")] == [("1", "small")]


def test_published_figures_need_no_run_and_keep_their_sources(tmp_path: Path) -> None:
    text = done("leaderboard", "--runs", tmp_path, "--published", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 160
    assert {row["published"] for row in rows} == {"true"}
    assert all(row["source"].startswith("https://") and not row["run"] for row in rows)
    titles = {row["ranking"] for row in rows}
    assert "published, Human3.6M: as reported (S9+S11; averaging not restated)" in titles
    assert "contextpose, version 1, frame mean, val, the official frames" in titles
    message = refused("leaderboard", "--runs", tmp_path, "--published", "--protocol", "strict")
    assert "no run and no published figure fits this choice" in message


# Ways to print


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    return board(
        tmp_path,
        replace(ROW, model="a_b", mpjpe_mm=40.004, p_mpjpe_mm=30.0, auc=70.0),
        replace(ROW, model="a|b", mpjpe_mm=39.996, p_mpjpe_mm=32.0, auc=80.0, mpjve_mm=float("nan")),
        replace(ROW, model="last", mpjpe_mm=50.0, p_mpjpe_mm=31.0, auc=60.0),
        replace(ROW, model="partial", mpjpe_mm=1.0, p_mpjpe_mm=1.0, auc=99.0, incomplete=True),
    )


def test_the_table_is_for_the_eye(printed: Path) -> None:
    title, _, header, *lines = printed_as(printed).splitlines()
    assert title == "semgcn, version 1, action mean, val, the official frames"
    assert header.split() == ["model", "options", "detections", "MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE", "PCK@150"] + [
        *("AUC", "frames", "run")
    ]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "incomplete"]
    assert len({line.index("543344") for line in lines}) == 1


def test_markdown_survives_a_bar_in_a_name(printed: Path) -> None:
    text = printed_as(printed, "--format", "markdown")
    assert r"| 1 | a\|b |" in text
    assert "| 40.00 | 32.00 | 39.50 | - | 99.00 | 80.00 |" in text


def test_csv_keeps_every_digit(printed: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(printed_as(printed, "--format", "csv"))))
    assert [row["place"] for row in rows] == ["1", "2", "3", "incomplete"]
    assert (rows[0]["mpjpe_mm"], rows[0]["mpjve_mm"], rows[0]["run"]) == ("39.996", "", "run-1")


def test_latex_has_the_best_bold_and_the_second_underlined(printed: Path) -> None:
    text = printed_as(printed, "--format", "latex")
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lllrrrrrr}"):
        assert word in text
    lines = {line.split(" & ")[0]: line.removesuffix(r" \\").split(" & ")[3:] for line in text.splitlines()}
    # equal as printed, so both are the best
    assert lines["a|b"][0] == lines[r"a\_b"][0] == r"\textbf{40.00}"
    assert lines["last"][0] == r"\underline{50.00}"
    assert [lines[name][1] for name in (r"a\_b", "last", "a|b")] == [r"\textbf{30.00}", r"\underline{31.00}", "32.00"]
    assert [lines[name][5] for name in ("a|b", r"a\_b", "last")] == [r"\textbf{80.00}", r"\underline{70.00}", "60.00"]
    assert lines["partial (incomplete)"] == ["1.00", "1.00", "39.50", "2.25", "99.00", "99.00"]


def test_actions_get_columns_on_request(benched: Path) -> None:
    text = done("leaderboard", "--runs", benched, "--model", "semgcn", "--per-action", "--format", "csv")
    for row in csv.DictReader(io.StringIO(text)):
        with (benched / row["run"] / "per_action.csv").open(newline="") as file:
            told = {line["action"]: line["mpjpe"] for line in csv.DictReader(file)}
        assert set(told) == set(ACTIONS)
        assert {action: row[action] for action in told} == told
        assert row["Smoking"] == ""
    text = done("leaderboard", "--runs", benched, "--per-action", "--format", "latex")
    assert "AUC & Dir. & Disc. & Eat &" in text
