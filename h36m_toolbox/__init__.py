"""Prepare Human3.6M and benchmark 3D human pose models on it."""
