"""A leaderboard as a table for the terminal, CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from collections.abc import Sequence as Items

from h36m_toolbox.benchmarks.standings.rankings import HIGHER_IS_BETTER, SHOWN, Entry, Leaderboard, Ranking
from h36m_toolbox.sequences import ACTIONS

_TITLES = ("MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE", "PCK@150", "AUC")
_SHORT = {
    **{"Directions": "Dir.", "Discussion": "Disc.", "Eating": "Eat", "Greeting": "Greet", "Phoning": "Phone"},
    **{"Posing": "Pose", "Purchases": "Purch.", "Sitting": "Sit", "SittingDown": "SitD.", "Smoking": "Smoke"},
    **{"TakingPhoto": "Photo", "Waiting": "Wait", "Walking": "Walk", "WalkingDog": "WalkD."},
    **{"WalkingTogether": "WalkT."},
}
_NONE = "No runs yet.\n"
_LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}


def leaderboard_as_text(found: Leaderboard, format_: str, per_action: bool = False) -> str:
    """The rankings in one of FORMATS; with `per_action` a column of MPJPE for each action."""
    return FORMATS[format_](found.rankings, ACTIONS if per_action else ())


def _as_table(rankings: Items[Ranking], actions: Items[str]) -> str:
    return "\n".join(_plain(ranking, actions) for ranking in rankings) or _NONE


def _plain(ranking: Ranking, actions: Items[str]) -> str:
    rows = [_header(actions), *(_cells(entry, actions) for entry in ranking.entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = (1, 2, 3, len(rows[0]) - 1)
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([ranking.title, "-" * min(max(map(len, lines)), 120), *lines]) + "\n"


def _as_markdown(rankings: Items[Ranking], actions: Items[str]) -> str:
    return "\n".join(_markdown(ranking, actions) for ranking in rankings) or _NONE


def _markdown(ranking: Ranking, actions: Items[str]) -> str:
    header = _header(actions)
    numbers = ["---:"] * (len(header) - 5)
    lines = [header, ["---:", "---", "---", "---", *numbers, "---"]]
    lines += [[cell.replace("|", r"\|") for cell in _cells(entry, actions)] for entry in ranking.entries]
    return "\n".join([f"## {ranking.title}", "", *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"


def _as_latex(rankings: Items[Ranking], actions: Items[str]) -> str:
    tables = [_latex(ranking, actions) for ranking in rankings]
    return "\n".join(["% needs \\usepackage{booktabs}", *tables]) if tables else _NONE


def _latex(ranking: Ranking, actions: Items[str]) -> str:
    header = [*_header(actions)[1:4], *_header(actions)[4:-2]]
    marks = _marks(ranking.entries, actions)
    lines = []
    for entry, marked in zip(ranking.entries, marks, strict=True):
        note = "" if entry.counts else f" ({entry.place})"
        words = (f"{entry.model}{note}", entry.options, entry.detections)
        lines.append(" & ".join([*map(_escaped, words), *marked]) + r" \\")
    sources = [f"% {entry.model}: {entry.run}" for entry in ranking.entries if entry.place == "published"]
    return "\n".join(
        (
            f"% {ranking.title}",
            *sources,
            rf"\begin{{tabular}}{{lll{'r' * (len(header) - 3)}}}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        )
    )


def _marks(entries: Items[Entry], actions: Items[str]) -> list[list[str]]:
    """Numbers of each entry, the best of a column bold and the second underlined; as printed, so ties share."""
    columns = [*SHOWN, *actions]
    numbers = [[*entry.figures, *(entry.per_action.get(action, math.nan) for action in actions)] for entry in entries]
    marked = [[_number(value) for value in row] for row in numbers]
    for place, column in enumerate(columns):
        values = {
            round(row[place], 2)
            for entry, row in zip(entries, numbers, strict=True)
            if entry.counts and not math.isnan(row[place])
        }
        best = sorted(values, reverse=column in HIGHER_IS_BETTER)[:2]
        for entry, row, texts in zip(entries, numbers, marked, strict=True):
            if entry.counts and round(row[place], 2) in best:
                macro = ("textbf", "underline")[best.index(round(row[place], 2))]
                texts[place] = rf"\{macro}{{{texts[place]}}}"
    return marked


def _as_csv(rankings: Items[Ranking], actions: Items[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    facts = ("ranking", "place", "published", "model", "options", "detections")
    writer.writerow((*facts, *SHOWN, "frames", "run", "source", *actions))
    for ranking in rankings:
        for entry in ranking.entries:
            published = entry.place == "published"
            values = (*entry.figures, *(entry.per_action.get(action, math.nan) for action in actions))
            numbers = ["" if math.isnan(value) else repr(value) for value in values]
            writer.writerow(
                (
                    *(ranking.title, entry.place, str(published).lower(), entry.model, entry.options),
                    *(entry.detections, *numbers[: len(SHOWN)], "" if entry.frames is None else entry.frames),
                    *("" if published else entry.run, entry.run if published else ""),
                    *numbers[len(SHOWN) :],
                )
            )
    return text.getvalue()


def _header(actions: Items[str]) -> list[str]:
    return ["", "model", "options", "detections", *_TITLES, *(_SHORT[action] for action in actions), "frames", "run"]


def _cells(entry: Entry, actions: Items[str]) -> list[str]:
    numbers = (*entry.figures, *(entry.per_action.get(action, math.nan) for action in actions))
    frames = "" if entry.frames is None else str(entry.frames)
    return [entry.place, entry.model, entry.options, entry.detections, *map(_number, numbers), frames, entry.run]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


FORMATS: dict[str, Callable[[Items[Ranking], Items[str]], str]] = {
    "table": _as_table,
    "csv": _as_csv,
    "markdown": _as_markdown,
    "latex": _as_latex,
}
