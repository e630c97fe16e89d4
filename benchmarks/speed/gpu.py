"""Every bundled model on one GPU: rate, memory, waiting, precisions, compilation, graphs, distance to the bound.

    python benchmarks/speed/gpu.py [--minutes 7.5] [--only A,B] [--weights NAME=FILE]
    python benchmarks/speed/gpu.py --table benchmarks/results/gpu_<machine>.json
    python benchmarks/speed/gpu.py --work

Unattended. What matters most comes first: all models without the compiler, a bench of each, training steps, then the
compiler, one precision after another, and what is left. Each step is a process of its own with its share of the time:
what it has measured until then is kept, what was not reached is named so. Code that was compiled stays in the
compiler's cache, so a second run gets further. The evidence, benchmarks/results/gpu_<machine>.json, is written anew
after every step, and all of it is printed as tables, with the hours of each recipe. Without a GPU it says so and exits
0.

`--work` needs no GPU: it counts each model's arithmetic and says what hours follow from it at 10 TFLOP/s.

`--device cpu --tiny` walks through the same code on small networks, without what a CPU cannot do. Its figures are
evidence of nothing; they are printed, and written only where --out says.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.gpu_data import filmed_data, lifted_data
from h36m_toolbox.benchmarks.speed.gpu_measures import Step, run_step
from h36m_toolbox.benchmarks.speed.gpu_models import ENTRIES, Entry
from h36m_toolbox.benchmarks.speed.gpu_table import table
from h36m_toolbox.benchmarks.speed.gpu_work import work_table
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.execution import EXACT, PRECISIONS, Execution, Precision
from h36m_toolbox.storage.files import written_whole

MINUTES = 7.5
_PEAKS_S, _DATA_S = 60.0, 120.0
_NO_STEP_S = 2.0  # too little to start one


@dataclass(frozen=True)
class Round:
    """What is done with every model before the next round begins; it ends when this part of the time is over.

    A step takes `most_s` at most; None: each gets its equal part of what is left of the round.
    """

    kind: Literal["forward", "bench", "train"]
    executions: tuple[Execution, ...]
    ends: float
    most_s: float | None = None

    def of(self, entry: Entry) -> tuple[Execution, ...]:
        """Of its executions: no layout without convolutions, no bench without frames, no training without a recipe."""
        if (self.kind == "bench" and not entry.benched) or (self.kind == "train" and not entry.training):
            return ()
        return tuple(each for each in self.executions if not (each.channels_last and entry.is_lifter))


def _compiled(precision: Precision) -> tuple[Execution, ...]:
    """Both are of one compilation."""
    return Execution(precision, compile=True), Execution(precision, compile=True, cuda_graphs=True)


_UNCOMPILED = (
    *(Execution(precision) for precision in PRECISIONS),
    *(Execution(precision, cuda_graphs=True) for precision in PRECISIONS),
    *(Execution(precision, channels_last=True) for precision in PRECISIONS),
)
_FAST = Execution("bf16", cuda_graphs=True)
_ALL_ON = tuple(Execution(precision, channels_last=True, compile=True, cuda_graphs=True) for precision in PRECISIONS)
_COMPILED = tuple(each for precision in PRECISIONS for each in _compiled(precision))
ROUNDS = (
    Round("forward", _UNCOMPILED, 0.4),
    Round("bench", (EXACT,), 0.6, most_s=20),
    Round("train", (EXACT, Execution("bf16")), 0.75, most_s=20),
    Round("forward", _compiled("bf16"), 1.0, most_s=90),
    Round("bench", (_FAST,), 1.0, most_s=20),
    Round("forward", _compiled("tf32"), 1.0, most_s=90),
    Round("forward", _compiled("fp32"), 1.0, most_s=90),
    Round("forward", _ALL_ON, 1.0, most_s=180),
    Round(
        "bench",
        tuple(each for each in (*_UNCOMPILED, *_COMPILED, *_ALL_ON) if each not in (EXACT, _FAST)),
        1.0,
        most_s=240,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(ENTRIES)}; all by default")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks: a trial of this script, no evidence")
    parser.add_argument("--out", type=Path, help="write the JSON here instead")
    parser.add_argument("--table", type=Path, metavar="JSON", help="print the table of an earlier run, measure nothing")
    parser.add_argument("--work", action="store_true", help="print what is to be computed, measure nothing")
    asked = parser.parse_args()
    if asked.table:
        print(table(json.loads(asked.table.read_text())))
        return
    names = asked.only.split(",") if asked.only else list(ENTRIES)
    weights = {name: Path(file) for name, _, file in (pair.partition("=") for pair in asked.weights)}
    if strangers := [name for name in (*names, *weights) if name not in ENTRIES]:
        parser.error(f"no model {', '.join(strangers)}; there are {', '.join(ENTRIES)}")
    if asked.work:
        print(work_table(names))
        return
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    if not asked.device.startswith("cuda") and not asked.tiny:
        parser.error(f"--device {asked.device} is a trial: give --tiny too")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended; the JSON has what was measured"))  # and no step goes on
    with TemporaryDirectory() as folder:
        found = measured(names, weights, asked, Path(folder))
    print(table(found))


def measured(names: list[str], weights: dict[str, Path], asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds, as far as the time goes; what is found until then is written after every step."""
    start, whole_s = time.monotonic(), 60 * asked.minutes
    found, method = _started(names, weights, asked, folder)
    data: dict[bool, Path] | None = None  # by whether it is of lifters
    for number, each in enumerate(ROUNDS):
        entries = [name for name in names if each.of(ENTRIES[name])]
        if each.kind == "bench" and data is None:
            most_s = min(_DATA_S, (start + each.ends * whole_s - time.monotonic()) / 2)
            data = _data(entries, asked.tiny, folder, most_s, found["problems"])
        for done, name in enumerate(entries):
            entry, lines = ENTRIES[name], folder / f"{number}-{name}.jsonl"
            if each.kind == "bench" and data is not None and entry.is_lifter not in data:
                _add(found, name, each, [], "there is no data; see the problems")
                continue
            left = start + each.ends * whole_s - time.monotonic()
            limit = min(left, each.most_s or left / (len(entries) - done))
            if limit < _NO_STEP_S:
                _add(found, name, each, [], f"of {asked.minutes:g} minutes none was left for it")
                continue
            step = Step(
                each.kind,
                asked.device,
                asked.tiny,
                lines,
                name,
                each.of(entry),
                weights.get(name),
                (data or {}).get(entry.is_lifter),
                folder / f"{number}-{name}.runs",
            )
            _add(found, name, each, *_in_own_process(step, limit, method))
            _keep(found, asked)
            print(f"{time.monotonic() - start:4.0f} s: {each.kind} of {name}", file=sys.stderr, flush=True)
    _keep(found, asked)
    return found


def _started(
    names: list[str], weights: dict[str, Path], asked: argparse.Namespace, folder: Path
) -> tuple[dict[str, Any], str]:
    """What is known before the first model, with the peaks; and how processes are started from now on.

    From a server that has everything imported, or anew each, where a driver cannot live with that.
    """
    problems: list[str] = []
    records: list[dict[str, Any]] = []
    for method in ("forkserver", "spawn"):
        step = Step("peaks", asked.device, asked.tiny, folder / f"peaks-{method}.jsonl")
        records, ended = _in_own_process(step, _PEAKS_S, method)
        if records:
            break
        problems.append(f"peaks, in a process by {method}: {ended}")
    peaks = records[0] if records else {"device": asked.device}
    models = {}
    for name in names:
        entry = ENTRIES[name].in_trial(asked.tiny)
        told = {"model": entry.model, "options": entry.options, "batch": entry.batch}
        told["training"] = asdict(entry.training) if entry.training else None
        models[name] = told | {"weights": str(weights[name]) if name in weights else "random"}
    found = {
        "what": "TRIAL on small networks, no evidence" if asked.tiny else "Each bundled model on one GPU",
        "device": peaks["device"],
        "minutes": asked.minutes,
        "peaks": peaks,
        "problems": problems,
        "models": models,
        "measurements": [],
        "not_measured": [
            {"entry": name, "kind": each.kind, "execution": asdict(execution), "why": "not reached"}
            for each in ROUNDS
            for name in names
            for execution in each.of(ENTRIES[name])
        ],
    }
    return found, method


def _data(names: list[str], tiny: bool, folder: Path, most_s: float, problems: list[str]) -> dict[bool, Path]:
    """Data of lifters and of models that see images, of which there is any; what went wrong is a problem."""
    data = {}
    for of_lifters in {ENTRIES[name].is_lifter for name in names}:
        make = lifted_data if of_lifters else filmed_data
        try:
            data[of_lifters] = make(folder / ("lifted" if of_lifters else "filmed"), tiny, most_s)
        except H36MError as error:
            problems.append(str(error))
    return data


def _in_own_process(step: Step, seconds: float, method: str) -> tuple[list[dict[str, Any]], str]:
    """The records of a step, those up to where its time or its process ended, and how it ended."""
    context = get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([run_step.__module__])
    process = context.Process(target=run_step, args=(step,))  # type: ignore[attr-defined]
    process.start()
    try:
        process.join(seconds)
        late = process.is_alive()
    finally:
        if process.is_alive():
            _kill(process)
            process.join()
    records = [json.loads(line) for line in step.lines.read_text().splitlines()] if step.lines.exists() else []
    ended = next((record["ended"] for record in records if "ended" in record), "")
    if late:
        ended = f"its {seconds:.0f} s were over"
    elif process.exitcode:
        ended = f"its process ended with {process.exitcode}"
    return [record for record in records if "ended" not in record], ended


def _kill(process: BaseProcess) -> None:
    """With all that it started, if it came to lead a group."""
    assert process.pid
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _add(found: dict[str, Any], name: str, done: Round, records: list[dict[str, Any]], ended: str) -> None:
    """Add the records of a step, and say why what has none has none."""
    where = {"entry": name, "kind": done.kind}
    found["measurements"] += [where | record | _bound(record, found["peaks"]) for record in records]
    tried = [where | {"execution": asdict(each)} for each in done.of(ENTRIES[name])]
    reached = [where | {"execution": record["execution"]} for record in records]
    for missing in list(found["not_measured"]):
        what = {key: value for key, value in missing.items() if key != "why"}
        if what in reached:
            found["not_measured"].remove(missing)
        elif what in tried:
            missing["why"] = ended or "no result"


def _bound(record: dict[str, Any], peaks: dict[str, Any]) -> dict[str, Any]:
    """The least seconds of a batch, by its arithmetic or its bytes, and how many times as long it took."""
    rate = peaks.get(f"{record['execution']['precision']}_flop_per_s")
    if "flop" not in record or not rate:
        return {}
    bounds = {"arithmetic": record["flop"] / rate, "bytes": record["bytes"] / peaks["bytes_per_s"]}
    bound = max(bounds, key=lambda kind: bounds[kind])
    return {"bound": bound, "bound_s": bounds[bound], "times_the_bound": record["seconds"] / bounds[bound]}


def _keep(found: dict[str, Any], asked: argparse.Namespace) -> None:
    if asked.out:
        with written_whole(asked.out) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")
    elif not asked.tiny:
        machine = "".join(letter if letter.isalnum() else "_" for letter in found["device"].lower())
        keep_evidence(f"gpu_{machine}", found, ("torch", "numpy"))


if __name__ == "__main__":
    main()
