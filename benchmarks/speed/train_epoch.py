"""An epoch of SemGCN: ours against the pattern of the official program, side by side in one run.

The official pattern in our own words: a data set that hands out one pose at a time, a loader that stacks 64 of them, a
network that fills a dense adjacency of -9e15 in every forward, multiplies the features by both weights before it mixes
the joints and puts channels second for batch norm, and a loop that reads the loss after every step. Same weights, same
batches, same optimiser settings; both on the CPU (or one CUDA device with --device).

The floor, on the CPU: the matrix products of a step, forward and backward, are recorded and run alone, with the same
shapes and threads, in the same run. Official pattern's step / our products alone is the most that any float32
implementation with these products could be faster.

    python benchmarks/speed/train_epoch.py [--steps 100] [--device cpu] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.products import Product, products_of
from h36m_toolbox.models import create_model
from h36m_toolbox.models.recipes import learning_rate
from h36m_toolbox.models.registry import recipe_of
from h36m_toolbox.models.semgcn import SemGCN, mask_of
from h36m_toolbox.models.training import make_optimizer, training_step
from h36m_toolbox.skeletons import H36M_16

TRAINING_POSES = 1_559_752
BATCH = 64
WARM_UP = 10  # steps that are not timed


class PoseAtATime(Dataset):
    """One pose an item, as the official data set gives them."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.inputs[index]).float(), torch.from_numpy(self.targets[index]).float()


class DenseGraphConv(nn.Module):
    """The same convolution in the official order of operations."""

    def __init__(self, in_features: int, out_features: int, mask: torch.Tensor) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(2, in_features, out_features))
        self.e = nn.Parameter(torch.ones(1, int(mask.sum())))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        self.mask = mask

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        of_itself, of_others = features @ self.W[0], features @ self.W[1]
        dense = torch.full(self.mask.shape, -9e15, device=features.device)
        dense[self.mask] = self.e.flatten()
        adjacency = F.softmax(dense, dim=1)
        diagonal = torch.eye(len(dense), device=features.device)
        mixed = (adjacency * diagonal) @ of_itself + (adjacency * (1 - diagonal)) @ of_others
        return mixed + self.bias.view(1, 1, -1)


class DenseBlock(nn.Module):
    def __init__(self, in_features: int, out_features: int, mask: torch.Tensor) -> None:
        super().__init__()
        self.gconv, self.bn = DenseGraphConv(in_features, out_features, mask), nn.BatchNorm1d(out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.gconv(features).transpose(1, 2)).transpose(1, 2))


class DenseSemGCN(nn.Module):
    def __init__(self, mask: torch.Tensor, width: int = 128, layers: int = 4) -> None:
        super().__init__()
        self.first = DenseBlock(2, width, mask)
        self.pairs = nn.ModuleList(
            nn.Sequential(DenseBlock(width, width, mask), DenseBlock(width, width, mask)) for _ in range(layers)
        )
        self.last = DenseGraphConv(width, 3, mask)

    def forward(self, poses: torch.Tensor) -> torch.Tensor:
        features = self.first(poses)
        for pair in self.pairs:
            features = features + pair(features)
        return self.last(features)


def official_pattern(inputs: np.ndarray, targets: np.ndarray, device: str, workers: int) -> float:
    """Seconds a step."""
    model = DenseSemGCN(mask_of(H36M_16).to(device)).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    poses, pinned = PoseAtATime(inputs, targets), device != "cpu"
    loader = DataLoader(poses, BATCH, shuffle=True, num_workers=workers, pin_memory=pinned)
    recipe = recipe_of("semgcn", "gt")
    losses, started, steps = [], 0.0, len(loader)
    for step, (given, wanted) in enumerate(loader, start=1):
        if step == WARM_UP + 1:
            started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        given, wanted = given.to(device), wanted.to(device)
        outputs = model(given)
        optimizer.zero_grad()
        loss = F.mse_loss(outputs, wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        losses.append(loss.item() * len(given))
    return (time.perf_counter() - started) / (steps - WARM_UP)


def ours(inputs: np.ndarray, targets: np.ndarray, device: str, precision: str = "fp32") -> float:
    """Seconds a step."""
    model = create_model("semgcn").to(device).train()
    assert isinstance(model, SemGCN)
    recipe = replace(recipe_of("semgcn", "gt"), precision=precision)
    optimizer = make_optimizer(model, recipe)
    data = torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
    batches = torch.randperm(len(inputs)).to(device).split(BATCH)
    total, started = torch.zeros((), dtype=torch.float64, device=device), 0.0
    for step, batch in enumerate(batches, start=1):
        if step == WARM_UP + 1:
            float(total)
            started = time.perf_counter()
        given, wanted = (values.index_select(0, batch) for values in data)
        total += training_step(model, optimizer, given, wanted, step, recipe).loss * len(batch)
    float(total)
    return (time.perf_counter() - started) / (len(batches) - WARM_UP)


def step_products(model: nn.Module, wanted: torch.Tensor) -> list[Product]:
    """The products of a model's forward and backward on a batch."""
    return products_of(lambda: F.mse_loss(model(torch.zeros(len(wanted), 16, 2)), wanted).backward())


def products_alone(products: list[Product], steps: int) -> float:
    """Seconds a step."""
    held: dict[Any, torch.Tensor] = {}
    ready = [product.ready(held) for product in products]
    for step in range(-WARM_UP, steps):
        if step == 0:
            started = time.perf_counter()
        for product in ready:
            product()
    return (time.perf_counter() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rng = np.random.default_rng(0)
    poses = (asked.steps + WARM_UP) * BATCH
    inputs, targets = (rng.uniform(-1, 1, (poses, 16, dims)).astype(np.float32) for dims in (2, 3))
    fewer = (asked.steps // 4 + WARM_UP) * BATCH  # without instructions for bf16 a step takes many times as long
    measured: dict[str, Callable[[], float]] = {
        "official pattern": lambda: official_pattern(inputs, targets, asked.device, 0),
        "official pattern, 2 workers": lambda: official_pattern(inputs, targets, asked.device, 2),
        "h36m": lambda: ours(inputs, targets, asked.device),
        "h36m, bf16": lambda: ours(inputs[:fewer], targets[:fewer], asked.device, "bf16"),
    }
    flop: dict[str, int] = {}
    if asked.device == "cpu":
        for name, model in (("official pattern", DenseSemGCN(mask_of(H36M_16))), ("h36m", create_model("semgcn"))):
            products = step_products(model.train(), torch.from_numpy(targets[:BATCH]))
            flop[name] = sum(product.flop for product in products)
            measured[f"{name}, its products alone"] = partial(products_alone, products, asked.steps)
    samples: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(asked.rounds):
        for name, seconds_a_step in measured.items():
            samples[name].append(seconds_a_step())
    step = {name: statistics.median(values) for name, values in samples.items()}
    ratios = {name: step["official pattern"] / step[name] for name in step}
    for name, seconds in step.items():
        epoch = seconds * TRAINING_POSES / BATCH
        print(f"{name:38} {seconds * 1e3:7.2f} ms a step, {epoch / 60:6.1f} min an epoch, {ratios[name]:.2f}x as fast")
    for name, count in flop.items():
        alone = step[f"{name}, its products alone"]
        share, rate = alone / step[name], count / alone / 1e9
        print(f"{name}: {100 * share:.0f} % of a step are its products, {count / 1e9:.2f} GFLOP at {rate:.0f} GFLOP/s")
    if flop:
        most = ratios["h36m, its products alone"]
        print(f"with these products, no float32 step can be more than {most:.2f}x as fast as the official pattern")
    path = keep_evidence(
        f"train_epoch_{asked.device.split(':')[0]}_{asked.threads}_threads",
        {
            "what": "seconds a step of 64 poses; ratio to the official pattern",
            "samples": samples,
            "median": step,
            "ratio": ratios,
            "flop_a_step": flop,
            "threads": asked.threads,
        },
        ("torch", "numpy"),
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
