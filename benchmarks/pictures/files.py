"""Pictures as PNG, GIF or MP4, chosen by the suffix; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from PIL import Image

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import written_whole

SUFFIXES = (".png", ".gif", ".mp4")
BITRATE_KBIT_S = 3000
_MIN_FPS = 0.1
_PNG_ROWS = 40
_PALETTE_PICTURES = 6
_GIF_TICKS = 100  # a second in the unit of a GIF's delays


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size, RGB uint8 (height, width, 3), even sides, drawn as asked for by ascending indices."""

    count: int
    draw: Callable[[Iterable[int]], Iterator[np.ndarray]]


def check_suffix(path: Path) -> None:
    """An H36MError for a file name that tells no format of ours."""
    if path.suffix.lower() not in SUFFIXES:
        raise H36MError(f"{path}: no format for the suffix {path.suffix!r}; the name must end in {', '.join(SUFFIXES)}")


def write_pictures(path: Path, pictures: Pictures, fps: float, bitrate_kbit_s: int = BITRATE_KBIT_S) -> None:
    """Write pictures as the suffix of `path` says: a PNG has them below each other, a GIF loops without end, an MP4 is
    H.264 where PyAV brings libx264 and MPEG-4 elsewhere. `fps` counts for GIF and MP4, the bitrate for MP4.

    Raises H36MError for another suffix, less than one picture in ten seconds, too many pictures for a PNG, or more than
    100 a second for a GIF, whose delays are whole hundredths of a second.
    """
    check_suffix(path)
    if fps < _MIN_FPS:
        raise H36MError(f"{path}: asked for {fps:g} pictures a second, the least is {_MIN_FPS}")
    write = {".png": _write_png, ".gif": _write_gif, ".mp4": _write_mp4}[path.suffix.lower()]
    write(path, pictures, fps, bitrate_kbit_s)


def _write_png(path: Path, pictures: Pictures, _fps: float, _bitrate: int) -> None:
    if pictures.count > _PNG_ROWS:
        raise H36MError(
            f"{path}: {pictures.count} pictures below each other are too many for a PNG (at most {_PNG_ROWS}); "
            "ask for fewer with --limit and --downsample, or for a GIF or MP4"
        )
    sheet = np.concatenate(list(pictures.draw(range(pictures.count))))
    with written_whole(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG", optimize=True)


def _write_gif(path: Path, pictures: Pictures, fps: float, _bitrate: int) -> None:
    if fps > _GIF_TICKS:
        raise H36MError(f"{path}: a GIF shows at most {_GIF_TICKS} pictures a second, asked for {fps:g}; lower --fps")
    ends = [round((number + 1) * _GIF_TICKS / fps) for number in range(pictures.count)]
    delays_ms = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    palette = _shared_palette(pictures)
    indexed = (
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures.draw(range(pictures.count))
    )
    with written_whole(path) as temporary:
        first = next(indexed)
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=indexed,
            duration=delays_ms,
            loop=0,
            optimize=False,  # it would give each picture a palette of its own
        )


def _shared_palette(pictures: Pictures) -> Image.Image:
    sample = sorted({round(place) for place in np.linspace(0, pictures.count - 1, _PALETTE_PICTURES)})
    sheet = np.concatenate([picture[::2, ::2] for picture in pictures.draw(sample)])
    return Image.fromarray(sheet).quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _write_mp4(path: Path, pictures: Pictures, fps: float, bitrate_kbit_s: int) -> None:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    drawn = pictures.draw(range(pictures.count))
    first = next(drawn)
    with written_whole(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4") as container:
                stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
                stream.height, stream.width = first.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.bit_rate = 1000 * bitrate_kbit_s
                for picture in chain([first], drawn):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                container.mux(stream.encode(None))
        except av.FFmpegError as error:
            raise H36MError(f"{path}: cannot be encoded ({error}); try other --size, --fps or --bitrate") from error
