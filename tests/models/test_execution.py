"""How networks are executed: exact by default, the same poses otherwise, nothing left changed behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as trees

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.executed import executed
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.full_precision import exactly, in_full_precision, row_like
from h36m_toolbox.models.lifting import predict
from h36m_toolbox.models.volumes import coordinate_volumes, soft_argmax_3d, unprojected, voxel_offsets
from h36m_toolbox.models.watching import Spent, Watch

pytestmark = pytest.mark.usefixtures("one_thread")
BF16 = Execution("bf16")


def flags() -> tuple[bool, bool, bool]:
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.is_autocast_enabled("cpu"),
    )


@contextmanager
def tf32_allowed() -> Iterator[None]:
    before = flags()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[:2]


class Telling(nn.Module):
    """A linear map that notes the flags it ran under, the type of its products, and may fail."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.layer, self.fails = nn.Linear(4, 3), fails
        self.noted: list[tuple[tuple[bool, bool, bool], torch.dtype]] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.layer(inputs)
        self.noted.append((flags(), outputs.dtype))
        if self.fails:
            raise ValueError("as asked")
        return outputs


def test_the_default_on_the_cpu_is_the_network_itself() -> None:
    model = Telling()
    assert EXACT.applied(model) is model
    assert EXACT.described() == {}
    assert Execution("bf16", compile=True).described() == {"precision": "bf16", "compile": True}


@pytest.mark.parametrize("fails", [False, True])
def test_precision_holds_within_a_call_and_is_as_before_afterwards(fails: bool) -> None:
    model = Telling(fails)
    ready = BF16.applied(model)
    with tf32_allowed():
        if fails:
            with pytest.raises(ValueError, match="as asked"):
                ready(torch.ones(1, 4))
        else:
            ready(torch.ones(1, 4))
        assert flags() == (True, True, False)
    assert model.noted == [((False, False, True), torch.bfloat16)]


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        (Execution("tf32"), "tf32 is of CUDA GPUs; on device cpu"),
        (Execution(cuda_graphs=True), "CUDA graphs need a CUDA GPU"),
    ],
)
def test_what_the_cpu_cannot_do_is_refused(execution: Execution, message: str) -> None:
    with pytest.raises(H36MError, match=message):
        execution.applied(Telling())
    with pytest.raises(H36MError, match="no precision 'fp8'; there are fp32, tf32, bf16"):
        Execution("fp8")  # type: ignore[arg-type]


def test_coordinates_stay_float32_under_bf16() -> None:
    random = np.random.default_rng(0)
    features = torch.from_numpy(random.normal(size=(1, 2, 3, 8, 8)).astype(np.float32))
    projections = torch.from_numpy(random.normal(size=(1, 2, 3, 4)).astype(np.float32))
    offsets, base = voxel_offsets(2500.0, 6), torch.tensor([[312.7, -98.3, 911.1]])

    def work() -> list[torch.Tensor]:
        volumes = coordinate_volumes(base, offsets, torch.tensor([0.3]))
        lifted = unprojected(features, projections, volumes, False)
        joints, weights = soft_argmax_3d(lifted[:, 0], volumes)
        return [volumes, lifted, joints, weights]

    expected = work()
    with torch.autocast("cpu", torch.bfloat16):
        for one, other in zip(work(), expected, strict=True):
            assert one.dtype == torch.float32
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        halved = in_full_precision(lambda values: values)(features.bfloat16())
        assert halved.dtype == torch.float32
        assert exactly(nn.Linear(8, 2), features.bfloat16()).dtype == torch.float32


def test_constants_are_those_of_a_copy_from_the_host() -> None:
    like = torch.zeros(2, dtype=torch.float32)
    torch.testing.assert_close(row_like([1 / 3, 7], like), like.new_tensor([1 / 3, 7]), rtol=0, atol=0)


def _lifted(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    return create_model(name), (torch.rand(64, 16, 2) - 0.5,)


def _patches(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    return create_model(name, layers=18, patch="64x64", initial_std=None), (torch.randn(2, 3, 64, 64),)


def _crops(_: str) -> tuple[nn.Module, tuple[Any, ...]]:
    crop = torch.rand(2, 17, 2) * torch.tensor([192.0, 256.0])
    maps = tuple(torch.randn(2, 32 << level, 16 >> level, 12 >> level) for level in range(4))
    return create_model("ca-poseformer"), (torch.empty(2, 0), torch.rand(2, 17, 2) - 0.5, crop, maps)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("semgcn", _lifted),
        ("semgcn-nonlocal", _lifted),
        ("martinez", _lifted),
        ("integral", _patches),
        ("integral-direct", _patches),
        ("ca-poseformer", _crops),
    ],
)
def test_bf16_moves_poses_little_and_gives_float32(
    name: str, made: Callable[[str], tuple[nn.Module, tuple[Any, ...]]]
) -> None:
    torch.manual_seed(0)
    model, inputs = made(name)
    model.eval()
    with torch.inference_mode():
        expected = model(*inputs)
        found = BF16.applied(model)(*inputs)
    assert found.dtype == torch.float32
    moved = (found - expected).norm(dim=-1).mean() / expected.norm(dim=-1).mean()
    assert 0 < moved < 0.03


# Few voxels and small images: bfloat16 is slow on a processor without instructions for it.


def _volume() -> tuple[nn.Module, tuple[Any, ...]]:
    torch.manual_seed(0)
    limbs = {"mean": [100.0 + 20 * limb for limb in range(16)], "std": [20.0] * 16}
    model = create_model("contextpose", layers=18, image_px=64, voxels=8, volume_std=0.05, limbs=limbs).eval()
    camera = torch.tensor([[80.0, 0, 32, 160000], [0, 80, 32, 160000], [0, 0, 1, 5000]])
    return model, (
        torch.randn(2, 1, 3, 64, 64),
        camera.expand(2, 1, 3, 4),
        torch.tensor([[20.0, -10, 30]]).expand(2, 3),
    )


def test_bf16_moves_joints_of_a_volume_by_less_than_a_millimetre() -> None:
    model, inputs = _volume()
    with torch.inference_mode():
        expected, found = model(*inputs), BF16.applied(model)(*inputs)
    assert all(each.dtype == torch.float32 for each in found)
    moved = (found.joints_3d - expected.joints_3d).norm(dim=-1)
    assert 0 < moved.max() < 1.0
    torch.testing.assert_close(found.coordinates, expected.coordinates, rtol=0, atol=0)


def test_bf16_moves_joints_of_heat_maps_by_less_than_a_tenth_of_a_pixel() -> None:
    torch.manual_seed(0)
    model = create_model("algebraic", layers=18, image_px=64, confidences=False, heatmap_multiplier=1.0).eval()
    cameras = torch.tensor([[[80.0, 0, 32, shift], [0, 80, 32, 160000], [0, 0, 1, 5000]] for shift in (16e4, 22e4)])
    inputs = (torch.randn(1, 2, 3, 64, 64), cameras[None])
    with torch.inference_mode():
        expected, found = model(*inputs), BF16.applied(model)(*inputs)
    assert all(each.dtype == torch.float32 for each in found)
    moved = (found.joints_2d - expected.joints_2d).norm(dim=-1)
    assert 0 < moved.max() < 0.1


def test_channels_last_moves_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    model, inputs = _patches("integral")
    with torch.inference_mode():
        expected = model.eval()(*inputs)
        found = Execution(channels_last=True).applied(model)(*inputs)
    assert next(each for each in model.parameters() if each.ndim == 4).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_from_a_shape_s_second_batch_on() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = np.random.default_rng(0).normal(size=(11, 16, 2)).astype(np.float32)
    expected = predict(model, inputs)
    torch._dynamo.utils.counters.clear()
    found = predict(model, inputs, batch_size=4, execution=Execution(compile=True))  # batches of 4, 4 and 3
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_machine_without_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    compiling = torch.compile

    def failing(*_: object) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda model, **options: compiling(model, backend=failing, **options))
    ready = Execution(compile=True).applied(nn.Linear(5, 7))
    with torch.inference_mode():
        ready(torch.ones(13, 5))
        with pytest.raises(H36MError, match=r"cannot compile Linear here .*no C\+\+ compiler.* leave --compile out"):
            ready(torch.ones(13, 5))


class Parted(nn.Module):
    """A network of which only one part may be compiled or captured."""

    capturable = ("inner",)

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outer(self.inner(inputs))


def test_only_what_a_network_names_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def compiling(model: nn.Module, **_: object) -> nn.Module:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compiling)
    model = Parted()
    ready = executed(model, Execution(compile=True))
    assert compiled == [model.inner]
    assert type(model.inner) is nn.Linear
    torch.testing.assert_close(ready(torch.ones(1, 2)), model(torch.ones(1, 2)))


def test_a_watch_tells_rate_waiting_and_no_memory_on_the_cpu() -> None:
    watch = Watch("cpu")
    with watch.waiting():
        sum(range(100_000))
    watch.saw(30)
    watch.saw(12)
    spent = watch.spent()
    assert spent.images_per_s * spent.seconds == pytest.approx(42)
    assert 0 < spent.waiting_share <= 1
    assert spent.peak_memory_mb is None


class Two:
    """Two processes that gather."""

    def __init__(self, other: Spent) -> None:
        self.other = other

    def gathered(self, part: np.ndarray) -> np.ndarray:
        peak = np.nan if self.other.peak_memory_mb is None else self.other.peak_memory_mb
        other = [[self.other.seconds, self.other.images_per_s, self.other.waiting_share, peak]]
        return np.concatenate([part, np.array(other)])


def test_what_processes_spent_is_put_together() -> None:
    both = Spent(2.0, 10.0, 0.2, 100.0).by_all(Two(Spent(3.0, 5.0, 0.4, 300.0)))  # type: ignore[arg-type]
    assert both == Spent(3.0, 15.0, pytest.approx(0.3), 300.0)
    assert Spent(2.0, 1.0, 0.0, None).by_all(Two(Spent(1.0, 1.0, 0.0, None))).peak_memory_mb is None  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("execution", "most"),
    [
        (EXACT, 1e-4),
        (Execution(cuda_graphs=True), 1e-4),
        (Execution(compile=True, cuda_graphs=True), 1e-3),
        (Execution("tf32"), 1e-2),
        (Execution("bf16", channels_last=True, cuda_graphs=True), 1e-2),
    ],
    ids=str,
)
@pytest.mark.parametrize("made", [_lifted, _patches, _crops])
def test_a_gpu_gives_the_cpu_s_poses_however_it_is_executed(
    execution: Execution, most: float, made: Callable[[str], tuple[nn.Module, tuple[Any, ...]]]
) -> None:
    torch.manual_seed(0)
    model, inputs = made({_lifted: "semgcn", _patches: "integral", _crops: "ca-poseformer"}[made])
    expected = model.eval()(*inputs).detach()
    ready = execution.applied(model.cuda())
    before = flags()
    with torch.inference_mode():
        for _ in range(4):  # the first as it is, then captured or compiled
            found = ready(*trees.tree_map(torch.Tensor.cuda, inputs)).cpu()
            assert (found - expected).norm() <= most * expected.norm()
    assert flags() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("execution", [Execution(cuda_graphs=True), Execution("bf16", cuda_graphs=True)], ids=str)
def test_a_gpu_gives_the_cpu_s_joints_of_a_volume_in_graphs(execution: Execution) -> None:
    model, inputs = _volume()
    before = flags()
    with torch.inference_mode():
        expected = model(*inputs).joints_3d
        ready = execution.applied(model.cuda())
        for _ in range(4):  # the first as it is, then captured
            found = ready(*(each.cuda() for each in inputs)).joints_3d
            assert found.dtype == torch.float32
            assert (found.cpu() - expected).norm(dim=-1).max() < (1.0 if execution.precision == "bf16" else 0.1)
    assert flags() == before
