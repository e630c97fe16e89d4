"""What a model that sees images makes of a sample while it learns, as pictures for TensorBoard.

RGB, uint8 (height, width, 3): the views with the true pose (grey) and the predicted one (coloured), and what the joints
were read from: the volume seen along its three axes, or the heat maps of the views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from h36m_toolbox.benchmarks.pictures.drawing import FAINT, draw_pose_2d
from h36m_toolbox.skeletons import MULTIVIEW_17
from h36m_toolbox.views.samples import ViewInput

if TYPE_CHECKING:
    import torch
    from torch import nn

_PANEL_PX = 256


def pictures_of(
    model: nn.Module, sample: ViewInput, target: np.ndarray, device: torch.device | str
) -> dict[str, np.ndarray]:
    """Pictures by name: `poses`, and `volume` or `heatmaps` where the model has them.

    `target` is the true pose (joints, 3), world, mm. The model runs in eval mode; whether it was training is restored.
    """
    import torch

    from h36m_toolbox.models.view_inference import batched

    training = model.training
    model.eval()
    with torch.inference_mode():
        output = model(*batched([sample], device))
    model.train(training)
    predicted = output.joints_3d[0].double().cpu().numpy()
    pictures = {"poses": _poses(sample, predicted, target)}
    if hasattr(output, "volumes"):
        pictures["volume"] = _seen_along_axes(output.volumes[0].float().cpu().numpy())
    elif hasattr(output, "heatmaps"):
        pictures["heatmaps"] = _glowing(output.heatmaps[0].float().cpu().numpy().max(axis=1))
    return pictures


def _poses(sample: ViewInput, predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    panels = []
    for image, projection in zip(sample.images, sample.projections, strict=True):
        panel = np.ascontiguousarray(cv2.resize(image[..., ::-1], (_PANEL_PX, _PANEL_PX), interpolation=cv2.INTER_AREA))
        gain = _PANEL_PX / image.shape[0]
        draw_pose_2d(panel, gain * _projected(target, projection), MULTIVIEW_17, FAINT)
        draw_pose_2d(panel, gain * _projected(predicted, projection), MULTIVIEW_17)
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def _projected(points: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """World points (joints, 3), mm, in px of a view (joints, 2); NaN behind the camera."""
    places = points @ projection[:, :3].T.astype(np.float64) + projection[:, 3]
    depth = np.where(places[:, 2:] > 0, places[:, 2:], np.nan)
    return np.asarray(places[:, :2] / depth)


def _seen_along_axes(volumes: np.ndarray) -> np.ndarray:
    """The joints' weights (joints, x, y, z), each as bright as its highest, seen along x, y and z, upwards in z."""
    bright = (volumes / volumes.max(axis=(1, 2, 3), keepdims=True)).max(axis=0)
    return _glowing(np.stack([bright.max(axis=0).T[::-1], bright.max(axis=1).T[::-1], bright.max(axis=2).T[::-1]]))


def _glowing(maps: np.ndarray) -> np.ndarray:
    """Maps (n, height, width) side by side, each from its lowest to its highest value."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    grey = np.uint8(255) * ((maps - low) / np.maximum(high - low, np.finfo(np.float32).tiny))
    panels = [
        cv2.resize(each.astype(np.uint8), (_PANEL_PX, _PANEL_PX), interpolation=cv2.INTER_NEAREST) for each in grey
    ]
    return cv2.applyColorMap(np.concatenate(panels, axis=1), cv2.COLORMAP_INFERNO)[..., ::-1]
