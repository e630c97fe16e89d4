"""The GPU script where there is no GPU: it says so, and its trial walks through every mode on a small network."""

import json
from pathlib import Path

import pytest
import torch

from h36m_toolbox.benchmarks.speed import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main([])
    assert capsys.readouterr().out == "no CUDA device: nothing measured\n"


@pytest.mark.slow
def test_a_trial_takes_every_mode_and_keeps_failures_as_failures(tmp_path: Path) -> None:
    out = tmp_path / "trial.json"
    gpu.main(["--device", "cpu", "--tiny", "--models", "semgcn", "--minutes", "3", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["what"].startswith("TRIAL") and found["data_problem"] == ""
    records = found["models"]["semgcn"]
    modes = {(each["mode"], each["precision"]): each for each in records if "mode" in each}
    assert len(modes) == 12
    assert all("failure" in modes["graphs", precision] for precision in ("fp32", "tf32", "bf16"))
    exact, rounded = modes["eager", "fp32"], modes["eager", "bf16"]
    assert exact["joints_moved"] < 0.01 < rounded["joints_moved"]
    assert exact["seconds"] > 0 and exact["flop"] > 0 and exact["bound"] in ("arithmetic", "bytes")
    assert [0 <= each["waiting"] <= 1 for each in records if "waiting" in each] == [True]
