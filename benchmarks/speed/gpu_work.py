"""The arithmetic of every bundled model, counted and not timed, and the hours that follow from it at one rate."""

from __future__ import annotations

from dataclasses import replace

from torch.utils.flop_counter import FlopCounterMode

from h36m_toolbox.benchmarks.speed.gpu_measures import loss_of, work_of
from h36m_toolbox.benchmarks.speed.gpu_models import ENTRIES, TEST_IMAGES, Entry, ready_entry

_RATE = 10e12  # FLOP/s
_HEAD = ("model", "GFLOP an input", "h, S9 and S11", "PFLOP an epoch", "h", "epochs", "h in all")


def work_table(names: list[str]) -> str:
    """A row a model: products and convolutions of an input, of the test set and of the recipe, and hours at 10 TFLOP/s.

    An input is an image, or a 2D pose; a training step is a forward and a backward of what is learnt.
    """
    rows = [_HEAD, ("---", *["---:"] * 6)]
    for name in names:
        entry = ENTRIES[name]
        ready = ready_entry(replace(entry, batch=1), "cpu", None)
        flop = work_of(ready)["flop"]
        test_h = flop / ready.images * TEST_IMAGES / _RATE / 3600
        row = (name, f"{flop / ready.images / 1e9:.4g}", f"{test_h:.2g}")
        if entry.training is None:
            rows.append((*row, "-", "-", "-", "-"))
            continue
        epoch = _sample_flop(entry) * entry.training.samples
        hours, epochs = epoch / _RATE / 3600, entry.training.epochs
        rows.append(
            (
                *row,
                f"{epoch / 1e15:.2g}",
                f"{hours:.2g}",
                f"{epochs or '-'}",
                f"{epochs * hours:.2g}" if epochs else "-",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _sample_flop(entry: Entry) -> float:
    """Of a training sample, forward and backward."""
    batch = 2  # batch norms need two
    ready = ready_entry(replace(entry, batch=batch), "cpu", None, training=True)
    with FlopCounterMode(display=False) as counter:
        loss_of(ready.model, ready.inputs).backward()
    return counter.get_total_flops() / batch
