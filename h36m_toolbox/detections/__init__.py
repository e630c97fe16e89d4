"""2D detections of anybody's, bundled into one table each."""
