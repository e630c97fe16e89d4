"""Synthetic masks are ones that the reader of the original's takes, around the figure, one a video frame."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_data import done

from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.raw.masks import read_mask_boxes
from h36m_toolbox.synthetic.archive import SyntheticPlan, write_synthetic_archive
from h36m_toolbox.synthetic.masks import write_synthetic_masks

PLAN = SyntheticPlan(("S1", "S9"), ("Walking",), subactions=(1,), frames=20, videos=False, detections=False, masks=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masked")
    write_synthetic_archive(root, PLAN)
    return root


def test_every_view_has_a_mask_a_video_frame_with_the_figure_inside(raw: Path) -> None:
    archive = RawArchive.open(raw)
    views = archive.sequences([Kind.MASK])
    assert len(views) == 8
    for view in views:
        top, left, bottom, right = read_mask_boxes(archive.path(view, Kind.MASK)).T
        pixels = archive.read_poses(view).image
        assert len(top) == PLAN.video_frames(view) > len(pixels)
        inside = (pixels >= np.stack([left, top], 1)[: len(pixels), None]) & (
            pixels <= np.stack([right, bottom], 1)[: len(pixels), None]
        )
        assert inside.all()


def test_the_multiview_labels_can_be_made_of_them(raw: Path, tmp_path: Path) -> None:
    said = done("labels", raw, "--out", tmp_path, "--format", "multiview", "--jobs", 1)
    assert "human36m-multiview-labels-GTbboxes.npy" in said


@settings(deadline=None)
@given(st.integers(-400, 1400), st.integers(-400, 1400), st.integers(0, 900))
def test_a_figure_that_leaves_the_image_still_has_a_mask(x: int, y: int, extent: int) -> None:
    from tempfile import TemporaryDirectory

    pixels = np.array([[[x, y], [x + extent, y + extent]]], float)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mat"
        write_synthetic_masks(path, pixels, 1, (1000, 1002))
        ((top, left, bottom, right),) = read_mask_boxes(path).tolist()
    assert 0 <= left < left + 2 <= right <= 1000
    assert 0 <= top < top + 2 <= bottom <= 1002
