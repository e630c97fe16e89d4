"""The crops that models see, cut once from the frames in DATA and kept without loss."""
