"""Runs of models, bench and training, each a folder of evidence."""
