"""Drawing the synthetic subject: each part of the body is the shaded hull of a few balls, sorted by depth.

The right side is orange, the left side blue, so that a swap of sides is visible to the eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.skeletons import H36M_32

Bgr = tuple[int, int, int]


@dataclass(frozen=True)
class _Part:
    balls: tuple[tuple[str, float], ...]  # (joint or helper point, radius in mm)
    colour: Bgr


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Figure:
    """One recording's figure as one camera sees it, ready to be drawn frame by frame."""

    parts: tuple[_Part, ...]
    pixels: np.ndarray  # (frames, balls, 2), px
    radii: np.ndarray  # (frames, balls), px
    depths: np.ndarray  # (frames, balls), mm
    floor: np.ndarray  # (frames, balls, corners, 2), px, outline of each ball's shadow
    stool: np.ndarray | None  # (2, corners, 2), px, top and bottom rim
    stool_depth: float


_SKIN, _NOSE, _EYE = (142, 176, 222), (122, 152, 204), (44, 36, 32)
_SHIRTS: tuple[Bgr, ...] = ((96, 84, 72), (92, 112, 70), (84, 70, 104), (112, 92, 60), (70, 84, 98))
_HAIRS: tuple[Bgr, ...] = ((38, 52, 74), (30, 30, 34), (66, 104, 140), (52, 74, 110))
_TROUSERS = (84, 66, 58)
_SHOE = (62, 62, 66)
_STOOL_TOP, _STOOL_SIDE = (88, 132, 176), (52, 82, 116)
_LIMBS: dict[str, tuple[Bgr, Bgr, Bgr]] = {  # upper arm, forearm, leg
    "R": ((40, 112, 232), (72, 144, 246), (34, 92, 200)),
    "L": ((206, 120, 44), (228, 152, 76), (178, 98, 34)),
}
# Shade of a part from rim to middle: radius, shift towards the light (both in radii), brightness.
_SHADES = ((1.0, 0.0, 0.58), (0.86, 0.08, 0.82), (0.62, 0.2, 1.0), (0.3, 0.36, 1.16))
_LIGHT = np.array([-0.5, -0.86])  # direction in the image from which the light comes
_TURNS = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates
_STOOL_RADIUS_MM = 190.0
_SHADOW = 0.42


def _parts(subject_number: int) -> tuple[_Part, ...]:
    shirt, hair = _SHIRTS[subject_number % len(_SHIRTS)], _HAIRS[subject_number % len(_HAIRS)]
    parts = [
        _Part((("RHip", 58), ("LHip", 58), ("Hip", 96), ("Spine", 98)), _TROUSERS),
        _Part((("Spine", 104), ("RShoulder", 54), ("LShoulder", 54), ("Thorax", 60)), shirt),
        _Part((("Thorax", 50), ("Neck/Nose", 44)), _SKIN),
        _Part((("Face", 72), ("Chin", 44)), _SKIN),
        _Part((("Crown", 82), ("Nape", 78)), hair),
        _Part((("Nose", 13),), _NOSE),
    ]
    for side, (upper, lower, leg) in _LIMBS.items():
        parts += [
            _Part(((f"{side}Hip", 76), (f"{side}Knee", 58)), leg),
            _Part(((f"{side}Knee", 56), (f"{side}Foot", 40)), leg),
            _Part(((f"{side}Foot", 42), (f"{side}Heel", 32), (f"{side}ToeBase", 32), (f"{side}ToeEnd", 22)), _SHOE),
            _Part(((f"{side}Shoulder", 56), (f"{side}Elbow", 42)), upper),
            _Part(((f"{side}Elbow", 40), (f"{side}Wrist", 29)), lower),
            _Part(((f"{side}Wrist", 30), (f"{side}HandEnd", 24)), _SKIN),
            _Part(((f"{side}Wrist", 18), (f"{side}Thumb", 13)), _SKIN),
            _Part(((f"{side}Eye", 10),), _EYE),
        ]
    return tuple(parts)


def figure_of(subject_number: int, world: np.ndarray, seat: np.ndarray | None, camera: Camera) -> Figure:
    """The figure of world poses (frames, 32, 3), mm, with the stool whose top's middle is `seat` (3,), world, mm."""
    parts = _parts(subject_number)
    points = _points(world)
    names = [name for part in parts for name, _ in part.balls]
    radii_mm = np.array([radius for part in parts for _, radius in part.balls])
    centers = np.stack([points[name] for name in names], axis=1)
    in_camera = camera.world_to_camera(centers)
    on_floor = np.repeat(centers[:, :, None], len(_CIRCLE), axis=2)
    on_floor[..., :2] += _CIRCLE * radii_mm[:, None, None]
    on_floor[..., 2] = 0
    return Figure(
        parts=parts,
        pixels=camera.project(in_camera),
        radii=radii_mm * camera.focal.mean() / in_camera[..., 2],
        depths=in_camera[..., 2],
        floor=camera.project(camera.world_to_camera(on_floor)),
        stool=None if seat is None else camera.project(camera.world_to_camera(_stool_rims(seat))),
        stool_depth=0.0 if seat is None else float(camera.world_to_camera(seat)[2]),
    )


def draw_figure(figure: Figure, frame: int, image: np.ndarray) -> None:
    """Draw the figure of one frame into a uint8 BGR image, in place."""
    _draw_shadow(figure, frame, image)
    outlines = _outlines(figure, frame)
    solids = [
        (float(figure.depths[frame, balls].mean()), part.colour, outlines[balls])
        for part, balls in zip(figure.parts, _ball_slices(figure.parts), strict=True)
    ]
    stool = figure.stool
    for depth, colour, balls_outlines in sorted(solids, key=lambda solid: -solid[0]):
        if stool is not None and depth < figure.stool_depth:
            _draw_stool(stool, image)
            stool = None
        for layer, (_, _, brightness) in enumerate(_SHADES):
            shade = tuple(min(255.0, channel * brightness) for channel in colour)
            _fill(image, balls_outlines[:, layer].reshape(-1, 2), shade)
    if stool is not None:
        _draw_stool(stool, image)


def _ball_slices(parts: tuple[_Part, ...]) -> list[slice]:
    """Where each part's balls stand among all of them."""
    ends = np.cumsum([len(part.balls) for part in parts]).tolist()
    return [slice(end - len(part.balls), end) for part, end in zip(parts, ends, strict=True)]


def _points(world: np.ndarray) -> dict[str, np.ndarray]:
    """Joints and helper points (frames, 3) by name."""
    points = {joint: world[:, i] for i, joint in enumerate(H36M_32.joints)}
    across = points["LShoulder"] - points["RShoulder"]
    up = points["Head"] - points["Thorax"]
    forward, across, up = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (np.cross(across, up), across, up)
    )
    middle = (points["Neck/Nose"] + points["Head"]) / 2
    points["Face"], points["Chin"] = middle + 18 * forward - 10 * up, middle + 30 * forward - 64 * up
    points["Crown"], points["Nape"] = middle - 10 * forward + 26 * up, middle - 34 * forward - 6 * up
    points["Nose"] = middle + 88 * forward - 16 * up
    for side, sign in (("R", -1), ("L", 1)):
        points[f"{side}Eye"] = middle + 76 * forward + 8 * up + sign * 30 * across
        shank = points[f"{side}Foot"] - points[f"{side}Knee"]
        down = shank / np.linalg.norm(shank, axis=1, keepdims=True)
        toes = points[f"{side}ToeEnd"] - points[f"{side}ToeBase"]
        points[f"{side}Heel"] = points[f"{side}Foot"] + 42 * down - 0.5 * toes
    return points


def _stool_rims(seat: np.ndarray) -> np.ndarray:
    """World points (2, corners, 3) of the stool's top and bottom rim."""
    rim = seat + np.column_stack([_CIRCLE * _STOOL_RADIUS_MM, np.zeros(len(_CIRCLE))])
    return np.stack([rim, rim * (1, 1, 0)])


def _outlines(figure: Figure, frame: int) -> np.ndarray:
    """Outlines (balls, shades, corners, 2) of every ball at every shade, px."""
    scales = np.array([scale for scale, _, _ in _SHADES])
    shifts = np.array([shift for _, shift, _ in _SHADES])
    unit = scales[:, None, None] * _CIRCLE + shifts[:, None, None] * _LIGHT
    return figure.pixels[frame][:, None, None] + figure.radii[frame][:, None, None, None] * unit


def _draw_stool(rims: np.ndarray, image: np.ndarray) -> None:
    _fill(image, rims.reshape(-1, 2), _STOOL_SIDE)
    _fill(image, rims[0], _STOOL_TOP)


def _draw_shadow(figure: Figure, frame: int, image: np.ndarray) -> None:
    """Darken the floor straight below the body."""
    outline = figure.floor[frame]
    rims = [outline.reshape(-1, 2)] if figure.stool is None else [outline.reshape(-1, 2), figure.stool[1]]
    corners = np.concatenate(rims)
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 12, 0, (width, height))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 12, 0, (width, height))
    if left >= right or top >= bottom:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for balls in _ball_slices(figure.parts):
        _fill(mask, outline[balls].reshape(-1, 2) - (left, top), (255,))
    for rim in rims[1:]:
        _fill(mask, rim - (left, top), (255,))
    light = cv2.LUT(cv2.blur(mask, (13, 7)), _shadow_table())
    region = image[top:bottom, left:right]
    region[:] = cv2.multiply(region, cv2.merge([light] * 3), scale=1 / 255)


def _shadow_table() -> np.ndarray:
    return np.rint(255 * (1 - _SHADOW * np.arange(256) / 255)).astype(np.uint8)


def _fill(image: np.ndarray, points: np.ndarray, colour: tuple[float, ...]) -> None:
    """Fill the convex hull of pixels (n, 2), anti-aliased."""
    hull = cv2.convexHull(np.rint(points * (1 << _SHIFT)).astype(np.int32))
    cv2.fillConvexPoly(image, hull, colour, cv2.LINE_AA, _SHIFT)
