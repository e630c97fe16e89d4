"""Recordings of Human3.6M that are damaged as distributed; what to do with them is a protocol's decision."""

from __future__ import annotations

from h36m_toolbox.sequences import Recording, Sequence

# The video of this one view cannot be decoded; VideoPose3D drops the whole recording, H36M-Toolbox only the view.
UNREADABLE_VIDEOS = (Sequence("S11", "Directions", 2, "54138969"),)
S11_DIRECTIONS = Recording("S11", "Directions", 2)

# Ground truth displaced against the images, poses end at about half of the video (learnable-triangulation, issue 63).
DISPLACED_RECORDINGS = (
    Recording("S9", "Greeting", 2),
    Recording("S9", "SittingDown", 2),
    Recording("S9", "Waiting", 1),
)
