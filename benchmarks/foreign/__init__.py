"""Predictions of anybody's, read, checked and scored."""
