"""The JSON of the GPU script as a table in Markdown: a row a model and execution, and what is not in it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from h36m_toolbox.benchmarks.speed.gpu_models import TEST_IMAGES

_HEAD = ("model", "execution", "inputs/s", "MB", "waiting", "MPJPE change", "times the bound", "bound by")
_HOURS_HEAD = ("model", "execution", "what", "a second", "MB", "min an epoch", "epochs", "hours")


def table(found: dict[str, Any]) -> str:
    """All that was measured, and below it all that failed, was left out or not reached.

    Inputs are images, or 2D poses of a lifter. Waiting is that of `h36m bench`, all else that of the forward alone. The
    change of MPJPE stands beside the mean distance of joints from their middle: random weights know no person's size.
    """
    forwards = {_key(each): each for each in found["measurements"] if each["kind"] == "forward"}
    benches = {_key(each): each for each in found["measurements"] if each["kind"] == "bench"}
    rows = [
        (*key, *_forward_cells(forwards.get(key, {})), _waiting(benches.get(key, {})))
        for key in dict.fromkeys([*forwards, *benches])
        if "seconds" in forwards.get(key, {}) or "seconds" in benches.get(key, {})
    ]
    cells = [_HEAD, ("---", "---", *["---:"] * 5, "---")]
    cells += [(*row[:4], row[7], *row[4:7]) for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([found["what"], _peaks(found), "", *lines, "", *_hours(found), "", *_beside(found)])


def described(execution: dict[str, Any]) -> str:
    """An execution in a few words: its precision, and what is switched on."""
    return " ".join([execution["precision"], *(name for name, on in execution.items() if on is True)])


def _key(record: dict[str, Any]) -> tuple[str, str]:
    return record["entry"], described(record["execution"])


def _forward_cells(record: dict[str, Any]) -> tuple[str, ...]:
    if "seconds" not in record:
        return ("-",) * 5
    return (
        f"{record['images_per_s']:,.1f}",
        _memory(record),
        f"{record['mpjpe_change']:+.4f} of {record['pose_size']:,.0f} {record['unit']}",
        f"{record['times_the_bound']:.1f}" if "bound" in record else "-",
        record.get("bound", "-"),
    )


def _memory(record: dict[str, Any]) -> str:
    return "-" if record["peak_memory_mb"] is None else f"{record['peak_memory_mb']:,.0f}"


def _waiting(record: dict[str, Any]) -> str:
    return f"{100 * record['waiting_share']:.0f} %" if "waiting_share" in record else "-"


def _hours(found: dict[str, Any]) -> list[str]:
    """What the published recipes and the test set take at the rates that were measured, on this one device."""
    rows = [_HOURS_HEAD, ("---", "---", *["---:"] * 6)]
    for record in found["measurements"]:
        key, trained = _key(record), found["models"].get(record["entry"], {}).get("training")
        if record["kind"] == "train" and trained and "seconds" in record:
            epoch_h = trained["samples"] / record["samples_per_s"] / 3600
            whole = f"{trained['epochs'] * epoch_h:.1f}" if trained["epochs"] else "-"
            rate = f"{record['samples_per_s']:,.1f}"
            rows.append(
                (*key, "training", rate, _memory(record), f"{60 * epoch_h:.1f}", f"{trained['epochs'] or '-'}", whole)
            )
        elif record["kind"] == "bench" and "images_per_s" in record:
            rate = f"{record['images_per_s']:,.1f}"
            rows.append((*key, "test set", rate, "-", "-", "-", f"{TEST_IMAGES / record['images_per_s'] / 3600:.2f}"))
    return [f"| {' | '.join(row)} |" for row in rows] if len(rows) > 2 else []


def _peaks(found: dict[str, Any]) -> str:
    peaks = found.get("peaks", {})
    rates = [
        f"{name.removesuffix('_flop_per_s')} {rate / 1e12:.2f} TFLOP/s"
        for name, rate in peaks.items()
        if name.endswith("_flop_per_s")
    ]
    copied = [f"copy {peaks['bytes_per_s'] / 1e9:.0f} GB/s"] if "bytes_per_s" in peaks else []
    return f"Peaks of {found['device']}: {', '.join([*rates, *copied]) or 'not measured'}."


def _beside(found: dict[str, Any]) -> list[str]:
    """A line a reason: which models and executions it kept from being measured."""
    kept: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in [*found["measurements"], *found["not_measured"]]:
        reasons = {"failure": "Failed", "left_out": "Left out", "why": "Not measured"}
        for name, word in reasons.items():
            if name in record:
                what = f"{record['kind']} {described(record['execution'])}"
                kept[f"{word}: {record[name]}"][what].append(record["entry"])
    lines = [f"Problem: {problem}" for problem in found["problems"]]
    for reason, by_execution in kept.items():
        by_entries: dict[str, list[str]] = defaultdict(list)
        for what, entries in by_execution.items():
            by_entries[", ".join(entries)].append(what)
        lines.append(f"- {reason}")
        lines += [f"  - {entries}: {', '.join(whats)}" for entries, whats in by_entries.items()]
    return lines
