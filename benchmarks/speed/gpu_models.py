"""One model on one device, in every precision and mode, a JSON line a measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_models import FromViews

PRECISIONS = ("fp32", "tf32", "bf16")
MODES = ("eager", "graphs", "compile", "compile+graphs")
_LIMBS = {"mean": [100.0 + 20 * limb for limb in range(16)], "std": [20.0] * 16}
_LABEL_NOISE_MM = 50.0
_SECONDS = 0.5  # of repetitions a measurement

Inputs = tuple[torch.Tensor, ...]

# What a mode may end in that a model, a compiler or a device cannot take: a result of its own, never a number.
FAILURES = (RuntimeError, H36MError, ValueError, TypeError, LookupError, AttributeError, OSError, ImportError)


@dataclass(frozen=True)
class Subject:
    """A bundled model as it is measured: its options, a batch that fills a GPU, and small ones for a trial."""

    model: str
    batch: int
    options: dict[str, Any] = field(default_factory=dict)
    tiny: dict[str, Any] = field(default_factory=dict)
    benched: bool = True  # on Human3.6M's frames


_SMALL_VIEWS = {"layers": 50, "image_px": 128}
SUBJECTS = {
    "semgcn": Subject("semgcn", 4096, tiny={"num_layers": 1}),
    "semgcn-nonlocal": Subject("semgcn-nonlocal", 4096),
    "martinez": Subject("martinez", 4096),
    "martinez-weigq": Subject("martinez-weigq", 4096),
    "martinez-tf": Subject("martinez-tf", 4096),
    "contextpose": Subject("contextpose", 16, {"limbs": _LIMBS}, _SMALL_VIEWS | {"voxels": 16}),
    "volumetric": Subject("volumetric", 8, tiny=_SMALL_VIEWS | {"voxels": 32}),
    "algebraic": Subject("algebraic", 8, tiny=_SMALL_VIEWS),
    "ransac": Subject("ransac", 8, tiny=_SMALL_VIEWS),
    "ca-poseformer-hrnet_32": Subject("ca-poseformer", 64, {"backbone": "hrnet_32"}),
    "ca-poseformer-hrnet_48": Subject("ca-poseformer", 64, {"backbone": "hrnet_48"}),
    "ca-poseformer-cpn": Subject("ca-poseformer", 64, {"backbone": "cpn"}),
    "integral": Subject("integral", 64),
    "integral-direct": Subject("integral-direct", 64),
    "challenge-r152-288x384": Subject("integral", 32, {"layers": 152, "patch": "288x384"}, benched=False),
}


def measured(name: str, device: str, tiny: bool, data: Path | None, weights: str | None, lines: Path) -> None:
    """Append a JSON line a measurement to `lines`: peaks, then every mode in every precision, then the waiting."""
    subject = SUBJECTS[name]
    options = subject.options | (subject.tiny if tiny else {})
    torch.manual_seed(0)
    contract = model_card(subject.model).contract(
        **{option: value for option, value in options.items() if option != "limbs"}
    )
    model = create_model(subject.model, **options)
    if weights:
        load_weights(model, Path(weights))
    model = model.to(device).eval()
    inputs = _inputs(contract, 2 if tiny else subject.batch, device)
    poses, scale, unit = len(inputs[0]), *_unit(subject.model, contract)

    def keep(record: dict[str, Any]) -> None:
        with lines.open("a") as file:
            file.write(json.dumps(record) + "\n")

    peaks = _peaks(device, tiny)
    keep({"peaks": peaks, "batch": poses, "unit_poses": "a pose a row; all views of it together"})
    with torch.inference_mode():
        counter = FlopCounterMode(display=False)
        with counter:
            _joints(model(*inputs))
        work = {"flop": counter.get_total_flops(), "bytes": _unavoidable_bytes(model, inputs)}
        with _precision("fp32", device):
            reference = _joints(model(*inputs)).float().clone() * scale
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1)).to(device)
    labels = reference + noise * (_LABEL_NOISE_MM if unit == "mm" else 0.1)
    error = (reference - labels).norm(dim=-1).mean()
    eager_s = None
    for mode in MODES:
        if mode == MODES[1] and subject.benched and data and eager_s:  # before the compiler may eat the time
            try:
                keep(_waiting(subject, options, data, device, poses, eager_s, lines.parent / f"{name}.runs"))
            except FAILURES as error_:
                keep({"step": "bench", "failure": f"{type(error_).__name__}: {error_}"})
        for precision in PRECISIONS:
            named = {"precision": precision, "mode": mode}
            try:
                found, seconds, peak = _run(model, inputs, mode, precision, device, tiny)
            except FAILURES as error_:  # a mode that a model cannot take is a result of its own
                reason = (str(error_).splitlines() or [""])[0]
                keep({**named, "failure": f"{type(error_).__name__}: {reason}"})
                continue
            found = found.float() * scale
            bounds = {
                "arithmetic": work["flop"] / peaks[f"{precision}_flop_per_s"],
                "bytes": work["bytes"] / peaks["bytes_per_s"],
            }
            bound = max(bounds, key=lambda kind: bounds[kind])
            if (mode, precision) == ("eager", "fp32"):
                eager_s = seconds
            keep(
                {
                    **named,
                    **work,
                    "seconds": seconds,
                    "per_s": poses / seconds,
                    "peak_mb": peak / 1e6,
                    "bound": bound,
                    "bound_s": bounds[bound],
                    "times_the_bound": seconds / bounds[bound],
                    "mpjpe_change": float((found - labels).norm(dim=-1).mean() - error),
                    "joints_moved": float((found - reference).norm(dim=-1).mean()),
                    "unit": unit,
                }
            )


def _inputs(contract: Any, batch: int, device: str) -> Inputs:
    """Random inputs of the contract's shapes; cameras look at the origin from 5 m."""
    if isinstance(contract, FromViews):
        views, side = (1 if contract.views == "one" else 4), contract.image_px
        images = torch.randn(batch, views, 3, side, side)
        middle, focal = side / 2, 1.3 * side
        turned = []
        for view in range(views):
            angle = torch.tensor(view * torch.pi / 2)
            cosine, sine = float(angle.cos()), float(angle.sin())
            rotation = torch.tensor([[cosine, sine, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [-sine, cosine, 0.0, 5000.0]])
            turned.append(torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]]) @ rotation)
        cameras = torch.stack(turned).expand(batch, -1, -1, -1).contiguous()
        given: Inputs = (images, cameras, *([torch.zeros(batch, 3)] if contract.needs_pelvis else []))
    elif isinstance(contract, FromCrops):
        crop = torch.rand(batch, 17, 2) * torch.tensor([192.0, 256.0])
        given = (torch.randn(batch, 3, 256, 192), torch.rand(batch, 17, 2) - 0.5, crop)
    elif isinstance(contract, FromPatches):
        given = (torch.randn(batch, 3, contract.patch.height, contract.patch.width),)
    else:
        given = (torch.rand(batch, len(contract.input_joints), 2) - 0.5,)
    return tuple(values.to(device) for values in given)


def _unit(model: str, contract: Any) -> tuple[float, str]:
    """What the network's numbers are multiplied by, and the unit that gives."""
    if isinstance(contract, FromViews):
        return 1.0, "mm"
    if isinstance(contract, FromPatches):
        return 1.0, "patches"
    return (1.0, "standard deviations") if model in ("martinez-weigq", "martinez-tf") else (1000.0, "mm")


def _joints(outputs: Any) -> torch.Tensor:
    joints = outputs if isinstance(outputs, torch.Tensor) else outputs.joints_3d
    assert isinstance(joints, torch.Tensor)
    return joints


def _unavoidable_bytes(model: nn.Module, inputs: Inputs) -> int:
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *inputs))


@contextmanager
def _precision(name: str, device: str) -> Iterator[None]:
    """Products in fp32, in tf32, or those that autocast allows in bf16; afterwards as before."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _run(
    model: nn.Module, inputs: Inputs, mode: str, precision: str, device: str, tiny: bool
) -> tuple[torch.Tensor, float, int]:
    """Joints, seconds a batch, and the peak memory in bytes."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.no_grad(), _precision(precision, device):
        forward = _prepared(model, inputs, mode, tiny, on_gpu)
        found = forward()
        seconds = _seconds(forward, on_gpu, tiny)
    return found, seconds, torch.cuda.max_memory_allocated() if on_gpu else 0


def _prepared(model: nn.Module, inputs: Inputs, mode: str, tiny: bool, on_gpu: bool) -> Callable[[], torch.Tensor]:
    if mode == "eager":
        return lambda: _joints(model(*inputs))
    if mode == "graphs":
        return _captured(model, inputs, on_gpu)
    torch.compiler.reset()
    if tiny:  # tracing only: no compiler is needed
        compiled = torch.compile(model, backend="eager")
    else:
        compiled = torch.compile(model, mode="reduce-overhead" if mode == "compile+graphs" else None)
    return lambda: _joints(compiled(*inputs)).clone()


def _captured(model: nn.Module, inputs: Inputs, on_gpu: bool) -> Callable[[], torch.Tensor]:
    """The forward as one CUDA graph, captured after three runs on a stream of its own."""
    if not on_gpu:
        raise RuntimeError("CUDA graphs need CUDA")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            model(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = _joints(model(*inputs))

    def replay() -> torch.Tensor:
        graph.replay()
        return outputs

    return replay


def _seconds(work: Callable[[], object], on_gpu: bool, tiny: bool) -> float:
    """The median of some calls, after two that are not counted."""
    times: list[float] = []
    for _ in range(2 if not tiny else 0):
        work()
    while not times or (sum(times) < _SECONDS and not tiny):
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _peaks(device: str, tiny: bool) -> dict[str, float]:
    """What the device reaches in a large matrix product of each precision, and in a copy."""
    side, on_gpu = (256 if tiny else 8192), device.startswith("cuda")
    one, other = torch.randn(2, side, side, device=device)
    peaks = {}
    for precision in PRECISIONS:
        with _precision(precision, device):
            seconds = _seconds(lambda: one @ other, on_gpu, tiny)
        peaks[f"{precision}_flop_per_s"] = 2 * side**3 / seconds
    source = torch.empty(1 << (20 if tiny else 30), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    peaks["bytes_per_s"] = 2 * len(source) / _seconds(lambda: target.copy_(source), on_gpu, tiny)
    return peaks


def _waiting(
    subject: Subject, options: dict[str, Any], data: Path, device: str, batch: int, eager_s: float, runs: Path
) -> dict[str, Any]:
    """The part of a real bench's prediction time in which the network, at its eager fp32 rate, would not compute."""
    from h36m_toolbox.benchmarks.runs.bench import BenchRequest, bench
    from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles

    contract = model_card(subject.model).contract(**{name: each for name, each in options.items() if name != "limbs"})
    given = {name: value for name, value in options.items() if name != "limbs"}
    if isinstance(contract, FromViews):
        given |= contract.untrained
    files = ViewFiles(pelvis="gt") if isinstance(contract, FromViews) and contract.needs_pelvis else ViewFiles()
    request = BenchRequest(
        subject.model, data, "gt", device=device, options=given, batch_size=batch, files=files, test_subjects=("S9",)
    )
    recorded = bench(request, runs)
    assert recorded is not None
    made = recorded.report.provenance
    passes = 2 if isinstance(contract, FromCrops) and contract.flip_test else 1
    computing = passes * made.seconds * made.poses_per_s / batch * eager_s
    waiting: dict[str, Any] = {"waiting": 1.0, "bench_s": made.seconds, "bench_poses_per_s": made.poses_per_s}
    with suppress(ZeroDivisionError):
        waiting["waiting"] = max(0.0, 1 - computing / made.seconds)
    return waiting
