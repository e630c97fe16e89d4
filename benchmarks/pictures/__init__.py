"""Poses as pictures: PNG, GIF, MP4, Rerun recordings."""
