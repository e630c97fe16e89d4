"""The GPU script where there is no GPU: what it refuses, what its trial measures, and the table it prints."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from h36m_toolbox.benchmarks.speed.gpu_measures import Step, forward_measure, measured_training
from h36m_toolbox.benchmarks.speed.gpu_models import ENTRIES
from h36m_toolbox.benchmarks.speed.gpu_table import table
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.integral_recipes import RECIPES
from h36m_toolbox.models.poseformer_recipes import PoseFormerRecipe
from h36m_toolbox.models.registry import model_names, recipe_of
from h36m_toolbox.models.view_recipes import experiments, published_recipe

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed" / "gpu.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_nothing_is_measured() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no CUDA device: nothing measured\n")


def test_every_model_is_measured_and_is_small_in_a_trial() -> None:
    assert {entry.model for entry in ENTRIES.values()} == set(model_names())
    for entry in ENTRIES.values():
        small = entry.in_trial(True)
        small.card.contract(**small.options)  # raises for options that it has not
        assert small.batch == 1 < entry.batch == entry.in_trial(False).batch


def test_a_forward_is_measured_in_each_execution() -> None:
    measure = forward_measure(Step("forward", "cpu", True, Path(), "semgcn"))
    exact, rounded = measure(EXACT), measure(Execution("bf16"))
    assert exact["seconds"] > 0 and exact["images_per_s"] == exact["batch"] / exact["seconds"]
    assert exact["flop"] > 0 and exact["bytes"] > 0 and exact["peak_memory_mb"] is None
    assert exact["joints_moved"] == exact["mpjpe_change"] == 0
    assert 0 < rounded["joints_moved"] < 0.1 * rounded["pose_size"]


def test_trainings_are_those_of_the_recipes() -> None:
    trained = {name: entry.training for name, entry in ENTRIES.items() if entry.training}
    for name, training in trained.items():
        entry = ENTRIES[name]
        if entry.card.recipes:
            lifted = recipe_of(entry.model, "gt")
            assert (training.batch, training.epochs) == (lifted.batch_size, lifted.epochs)
        elif entry.model in experiments():
            viewed = published_recipe(entry.model)
            assert (training.batch, training.samples) == (viewed.batch_size, viewed.samples_per_epoch)
        elif entry.model == "ca-poseformer":
            assert (training.batch, training.epochs) == (PoseFormerRecipe().batch_size, PoseFormerRecipe().epochs)
        else:
            patched = RECIPES["challenge d-mh" if name == "challenge" else f"{name} d-mh"]
            assert (4 * training.batch, training.epochs) == (patched.batch_size, patched.epochs)  # of 4 GPUs
    assert len(trained) == 14


@pytest.mark.parametrize("name", ["martinez-tf", "integral", "algebraic", "ca-poseformer-cpn"])
def test_steps_of_every_kind_of_model_are_measured(name: str) -> None:
    measured = measured_training(Step("train", "cpu", True, Path(), name), EXACT)
    assert measured["batch"] == 2
    assert measured["samples_per_s"] == 2 / measured["seconds"] > 0


def test_the_table_has_what_was_measured_and_names_the_rest() -> None:
    def record(kind: str, execution: Execution, **values: Any) -> dict[str, Any]:
        return {"entry": "semgcn", "kind": kind, "execution": asdict(execution), **values}

    forward = {"seconds": 0.5, "images_per_s": 8192.0, "peak_memory_mb": 1234.5, "mpjpe_change": 0.25, "pose_size": 400}
    bounded = {"unit": "mm", "bound": "arithmetic", "bound_s": 0.25, "times_the_bound": 2.0}
    compiled, graphs = Execution("bf16", compile=True), Execution("bf16", cuda_graphs=True)
    found = {
        "what": "made up",
        "device": "no device",
        "peaks": {"fp32_flop_per_s": 2e12, "bytes_per_s": 3e9},
        "problems": [],
        "models": {"semgcn": {"training": {"batch": 64, "samples": 72_000, "epochs": 50}}},
        "measurements": [
            record("forward", EXACT, **forward, **bounded),
            record("forward", graphs, failure="RuntimeError: out of memory"),
            record("bench", EXACT, seconds=1.0, waiting_share=0.125, images_per_s=3018.6),
            record("train", EXACT, seconds=0.64, samples_per_s=100.0, peak_memory_mb=None),
            record("train", graphs, failure="RuntimeError: out of memory"),
        ],
        "not_measured": [record("forward", compiled, why="its 9 s were over")],
    }
    lines = table(found).splitlines()
    assert lines[1] == "Peaks of no device: fp32 2.00 TFLOP/s, copy 3 GB/s."
    assert lines[5] == "| semgcn | fp32 | 8,192.0 | 1,234 | 12 % | +0.2500 of 400 mm | 2.0 | arithmetic |"
    assert lines[9:11] == [
        "| semgcn | fp32 | test set | 3,018.6 | - | - | - | 0.05 |",
        "| semgcn | fp32 | training | 100.0 | - | 12.0 | 50 | 10.0 |",
    ]
    assert lines[-4:] == [
        "- Failed: RuntimeError: out of memory",
        "  - semgcn: forward bf16 cuda_graphs, train bf16 cuda_graphs",
        "- Not measured: its 9 s were over",
        "  - semgcn: forward bf16 compile",
    ]


@pytest.mark.slow
def test_a_trial_takes_every_execution_and_tells_what_a_cpu_leaves_out(tmp_path: Path) -> None:
    out = tmp_path / "trial.json"
    command = [SCRIPT, "--device", "cpu", "--tiny", "--only", "semgcn", "--minutes", "4", "--out", out]
    done = subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True)
    found = json.loads(out.read_text())
    assert found["what"].startswith("TRIAL") and found["problems"] == found["not_measured"] == []
    assert "| semgcn | bf16 compile |" in done.stdout
    for kind in ("forward", "bench"):
        records = [each for each in found["measurements"] if each["kind"] == kind]
        assert len(records) == 12  # precisions, compiled or not, as graphs or not
        for record in records:
            execution = record["execution"]
            in_vain = execution["precision"] == "tf32" or execution["cuda_graphs"]
            in_vain |= kind == "bench" and execution["precision"] == "bf16"
            assert ("left_out" in record) == in_vain
            if not in_vain and kind == "bench":
                assert 0 <= record["waiting_share"] <= 1
            elif not in_vain:
                assert record["times_the_bound"] > 0 and record["bound"] in ("arithmetic", "bytes")
    steps = {each["execution"]["precision"]: each for each in found["measurements"] if each["kind"] == "train"}
    assert steps["fp32"]["samples_per_s"] > 0 and "left_out" in steps["bf16"]
    assert "| semgcn | fp32 | training |" in done.stdout
