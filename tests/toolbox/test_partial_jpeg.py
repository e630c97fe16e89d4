"""The upper rows of a JPEG image are those of the whole image."""

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.frames.partial_jpeg import decoded_rgb


def jpeg(height: int = 200, subsampling: str = "420", quality: int = 90) -> bytes:
    image = np.random.default_rng(height).integers(0, 255, (height, 60, 3), np.uint8)
    return bytes(simplejpeg.encode_jpeg(image, quality, "RGB", subsampling))


@given(st.integers(1, 250), st.integers(17, 220), st.sampled_from(["420", "422", "444", "440", "411", "Gray"]))
def test_the_rows_asked_for_are_those_of_the_whole(rows: int, height: int, subsampling: str) -> None:
    content = jpeg(height, subsampling)
    whole, part = decoded_rgb(content), decoded_rgb(content, rows)
    assert len(part) >= min(rows, height)
    np.testing.assert_array_equal(part[:rows], whole[:rows])


def test_less_is_decoded() -> None:
    assert decoded_rgb(jpeg(), 50).shape == (64, 60, 3)


def test_a_progressive_file_is_decoded_whole() -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (200, 60, 3), np.uint8)
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    np.testing.assert_array_equal(decoded_rgb(content, 50), decoded_rgb(content))


@pytest.mark.parametrize("rows", [None, 20, 190])
def test_a_truncated_file_is_refused_wherever_it_ends(rows: int | None) -> None:
    content = jpeg()
    for end in (len(content) - 2, len(content) // 2, 30, 0):
        with pytest.raises(ValueError):
            decoded_rgb(content[:end], rows)
    with pytest.raises(ValueError):
        decoded_rgb(b"no image at all, but some text", rows)
