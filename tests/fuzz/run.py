"""Fuzz the readers of strangers' files: only documented errors may come out, without a hang or a huge allocation.

    python tests/fuzz/run.py --seconds 60                       # all targets, the time shared out evenly
    python tests/fuzz/run.py --seconds 3600 --target cdf        # one at depth
    python tests/fuzz/run.py --target cdf --seed 0 --first 1234 --count 1     # one input again, as a failure names it

Inputs are read in a child process, so that one that crashes, hangs or eats memory is seen, named and saved to
`--failures`.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz_corpora import TOUCHED
from fuzz_mutations import mutated
from fuzz_targets import TARGETS

LIMIT_S = 10  # for one input
LIMIT_BYTES = 4 << 30  # address space of a child: interpreter and libraries take 2 GB of it
OUTSIDE = {"unpacked"}  # beside the input itself, all that a reader may write


@dataclass(frozen=True)
class Failure:
    """An input that a reader did not survive, and how to have it again."""

    target: str
    seed: int
    number: int
    what: str
    path: Path

    def __str__(self) -> str:
        again = f"python tests/fuzz/run.py --target {self.target} --seed {self.seed} --first {self.number} --count 1"
        return f"{self.target}: {self.what}\n  input: {self.path}\n  again: {again}"


@dataclass(frozen=True)
class Outcome:
    """How many inputs a reader read, and those it did not survive."""

    target: str
    inputs: int
    failures: list[Failure]

    def __str__(self) -> str:
        counts = f"{self.target}: {self.inputs} inputs, {len(self.failures)} failures"
        return "\n".join([counts, *map(str, self.failures)])


def input_of(target: str, seed: int, number: int, seeds: list[bytes]) -> bytes:
    """Input `number` of a run; the first ones are the seeds themselves."""
    return seeds[number] if number < len(seeds) else mutated(random.Random(f"{target} {seed} {number}"), seeds)


def fuzz(target: str, seed: int, seconds: float, failures: Path, first: int = 0, count: int = 10**9) -> Outcome:
    """Read inputs `first` and on, for some seconds or `count` of them; what went wrong."""
    found: list[Failure] = []
    end, number = time.monotonic() + seconds, first
    while number < first + count and (number == first or time.monotonic() < end) and len(found) < 10:
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "state"
            left = max(end - time.monotonic(), 0.1)
            words = [target, seed, number, first + count - number, left, folder]
            child = subprocess.run([sys.executable, __file__, "--child", *map(str, words)], stderr=subprocess.PIPE)
            reached = int(state.read_text()) if state.exists() else number
        if child.returncode != 0:
            what = child.stderr.decode(errors="replace").strip().splitlines()[-12:]
            if child.returncode < 0:
                signal_name = signal.Signals(-child.returncode).name
                what = [f"still busy after {LIMIT_S} s" if signal_name == "SIGALRM" else signal_name, *what]
            failures.mkdir(parents=True, exist_ok=True)
            saved = failures / f"{target}-{seed}-{reached}{TARGETS[target].suffix}"
            saved.write_bytes(input_of(target, seed, reached, TARGETS[target].seeds()))
            found.append(Failure(target, seed, reached, "\n  ".join(what), saved))
            reached += 1
        number = reached
    return Outcome(target, number - first, found)


def child(target_name: str, seed: int, first: int, count: int, seconds: float, folder: Path) -> None:
    """Read inputs one after the other; the number of the present one stands in `state`."""
    target = TARGETS[target_name]
    seeds = target.seeds()
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end = time.monotonic() + seconds
    number = first
    with (folder / "state").open("w") as state:
        while number < first + count and (number == first or time.monotonic() < end):
            state.seek(0)
            state.write(str(number))
            state.flush()
            _read_one(target_name, input_of(target_name, seed, number, seeds), folder)
            number += 1
        state.seek(0)
        state.write(str(number))


def _read_one(target_name: str, content: bytes, folder: Path) -> None:
    target = TARGETS[target_name]
    place = folder / "input" / "raw"
    shutil.rmtree(folder / "input", ignore_errors=True)
    place.mkdir(parents=True)
    path = place / f"input{target.suffix}"
    path.write_bytes(content)
    signal.alarm(LIMIT_S)  # not handled: it ends a reader that hangs in C as well
    target.read(path)
    signal.alarm(0)
    written = {entry.name for entry in place.iterdir()} | {entry.name for entry in (folder / "input").iterdir()}
    assert written <= {path.name, "raw"} | OUTSIDE, f"it wrote {written}"
    assert {entry.name for entry in folder.iterdir()} == {"state", "input"}, "it wrote outside its folder"
    assert not list(folder.rglob(TOUCHED)), "it ran what the file asked for"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        name, seed, first, count, seconds, folder = sys.argv[2:]
        child(name, int(seed), int(first), int(count), float(seconds), Path(folder))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=TARGETS, help="repeatable; default: all")
    parser.add_argument("--seconds", type=float, default=60, help="in all (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=10**9, help="inputs of a target at most")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where inputs are saved")
    asked = parser.parse_args()
    names = asked.target or list(TARGETS)
    failed = False
    for name in names:
        outcome = fuzz(name, asked.seed, asked.seconds / len(names), asked.failures, asked.first, asked.count)
        sys.stdout.write(f"{outcome}\n")
        failed = failed or bool(outcome.failures)
    sys.exit(failed)


if __name__ == "__main__":
    main()
