"""What each kind of model is shown as the mirrored world: exact properties of every `Mirror`."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_view_models import CAMERAS, small
from torch import nn

from h36m_toolbox.models import create_model
from h36m_toolbox.models.learnable_triangulation import triangulated
from h36m_toolbox.models.lifting import lifting_inputs, lifting_mirror, screen_lifting
from h36m_toolbox.models.patch_models import FromPatches, in_patch, patch_mirror
from h36m_toolbox.models.standardisation import standard_lifting
from h36m_toolbox.models.test_time import Mirror, Predictor, averaged, flip_tested, mirrored_poses
from h36m_toolbox.models.view_inference import VIEW_MIRROR, mirrored_views, world_poses
from h36m_toolbox.models.volumes import soft_argmax_2d, unprojected, voxel_offsets
from h36m_toolbox.pose_datasets.patches import Patch
from h36m_toolbox.pose_tables import keyed_table, sequence_code, table_schema
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, MULTIVIEW_17

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 128  # px, of CAMERAS


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


# Views: the mirrored world in mirrored cameras


def pixels_of(projections: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(views, points, 2) of points (points, 3)."""
    seen = torch.einsum("vij,pj->vpi", projections, torch.nn.functional.pad(points, (0, 1), value=1.0))
    return seen[..., :2] / seen[..., 2:]


def test_a_mirrored_point_is_seen_where_the_mirrored_image_shows_it() -> None:
    points = torch.randn(50, 3, generator=generator(), dtype=torch.float64) * 500
    cameras = CAMERAS[None].double()
    images, projections, base = mirrored_views((torch.zeros(1, 4, 3, SIZE, SIZE), cameras, points[:1]))
    before, after = pixels_of(cameras[0], points), pixels_of(projections[0], mirrored_points(points))
    torch.testing.assert_close(after[..., 0], SIZE - 1 - before[..., 0])
    torch.testing.assert_close(after[..., 1], before[..., 1])
    assert torch.equal(base, mirrored_points(points[:1]))
    assert images.shape == (1, 4, 3, SIZE, SIZE)
    handed = [torch.linalg.det(each[0, :, :, :3]).sign() for each in (cameras, projections)]
    assert torch.equal(*handed)  # mirrored cameras are cameras


def mirrored_points(points: torch.Tensor) -> torch.Tensor:
    return points * points.new_tensor([-1, 1, 1])


def test_the_volume_of_the_mirrored_world_is_the_mirrored_volume() -> None:
    features = torch.rand(1, 4, 2, SIZE, SIZE, generator=generator(), dtype=torch.float64)
    base, offsets = torch.tensor([[120.0, -80.0, 30.0]]).double(), voxel_offsets(1500, 8).double()
    batch = (features, CAMERAS[None].double(), base)
    plain, mirrored = (
        unprojected(images, cameras, middle[:, None, None, None] + offsets, half_pixel_error=False)
        for images, cameras, middle in (batch, mirrored_views(batch))
    )
    torch.testing.assert_close(mirrored, plain.flip(-3), rtol=0, atol=1e-5)  # of float32 offsets


class Spotting(nn.Module):
    """All joints where the views' brightest spots meet: mirror-equivariant by construction."""

    def forward(self, images: torch.Tensor, projections: torch.Tensor) -> SimpleNamespace:
        spots, _ = soft_argmax_2d(images[:, :, :1], softmax=False)
        joints_2d = spots.expand(-1, -1, len(MULTIVIEW_17), -1)
        return SimpleNamespace(joints_3d=triangulated(projections, joints_2d, torch.ones_like(joints_2d[..., 0])))


def test_the_flip_test_of_an_equivariant_model_of_views_changes_nothing() -> None:
    images = torch.zeros(3, 4, 3, SIZE, SIZE, dtype=torch.float64)
    places = torch.randint(10, SIZE - 10, (3, 4, 2), generator=generator())
    for sample, view in np.ndindex(3, 4):  # spots that agree on no point: a least-squares one
        column, row = places[sample, view].tolist()
        images[sample, view, 0, row, column] = 1
    batch, predict = (images, CAMERAS.double().expand(3, 4, 3, 4)), world_poses(Spotting())
    plain = predict(batch)
    assert plain[..., 0].abs().min() > 1  # off the mirror
    torch.testing.assert_close(flip_tested(predict, VIEW_MIRROR)(batch), plain, rtol=1e-9, atol=1e-6)


# Lifters: pixels before each model's own units


def rows(count: int) -> Any:
    keys = [sequence_code(Sequence("S9", "Walking", 1, CAMERA_IDS[row % 4])) << 32 | row for row in range(count)]
    return keyed_table(np.array(keys), {}, table_schema(()))


def test_in_screen_units_a_mirrored_pose_has_the_opposite_x() -> None:
    labels, contract = rows(8), screen_lifting()
    pixels = torch.rand(8, 16, 2, generator=generator()) * 1000
    mirrored = lifting_mirror(labels, contract).inputs(pixels)
    plain, of_mirror = (lifting_inputs(labels, each.numpy()) for each in (pixels, mirrored))
    expected = mirrored_poses(torch.from_numpy(plain), H36M_16)
    np.testing.assert_allclose(of_mirror, expected, rtol=0, atol=1e-6)


# Every kind: a flip-tested model is symmetric, so a second flip test changes nothing


def of_lifter() -> tuple[Predictor[Any], Mirror[Any], Any]:
    torch.manual_seed(0)
    model = create_model("martinez-tf", linear_size=16).eval()
    mirror = lifting_mirror(rows(5), standard_lifting())
    return (lambda pixels: model(pixels / 1000)), mirror, torch.rand(5, 16, 2, generator=generator()) * 1000


def of_patches() -> tuple[Predictor[Any], Mirror[Any], Any]:
    torch.manual_seed(0)
    contract = FromPatches(Patch(64, 64))
    model = create_model("integral", layers=18, patch="64x64", deconv_channels=8, initial_std=None).eval()
    images = torch.randn(2, 3, 64, 64, generator=generator())
    return (lambda patches: in_patch(model(patches), contract.patch)), patch_mirror(contract), images


def of_views(name: str) -> tuple[Predictor[Any], Mirror[Any], Any]:
    torch.manual_seed(0)
    count = 1 if name == "contextpose" else 2
    images = torch.randn(1, count, 3, SIZE, SIZE, generator=generator())
    base = [] if name == "algebraic" else [torch.tensor([[100.0, 50.0, 0.0]])]
    return world_poses(small(name)), VIEW_MIRROR, (images, CAMERAS[None, :count], *base)


KINDS: dict[str, Callable[[], tuple[Predictor[Any], Mirror[Any], Any]]] = {
    "lifter": of_lifter,
    "patches": of_patches,
    "algebraic": lambda: of_views("algebraic"),
    "volumetric": lambda: of_views("volumetric"),
    "contextpose": lambda: of_views("contextpose"),
}
FAST, SLOW = ("lifter", "patches", "algebraic"), ("volumetric", "contextpose")


@pytest.mark.parametrize("kind", [*FAST, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)])
def test_what_a_flip_test_gives_is_symmetric(kind: str) -> None:
    predict, mirror, batch = KINDS[kind]()
    with torch.inference_mode():
        plain, once = predict(batch), flip_tested(predict, mirror)(batch)
        of_mirror = flip_tested(predict, mirror)(mirror.inputs(batch))
    assert not torch.equal(plain, once)
    size = float(once.abs().max())
    torch.testing.assert_close(mirror.poses(of_mirror), once, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("flip", [False, True])
def test_an_ensemble_of_a_model_with_itself_is_the_model(kind: str, flip: bool) -> None:
    predict, mirror, batch = KINDS[kind]()
    with torch.inference_mode():
        alone, together = (averaged([predict] * count, mirror, flip)(batch) for count in (1, 2))
    assert torch.equal(alone, together)
