"""The judges: metrics, protocols, predictions files, the evaluator and the leaderboard. Nothing here runs a model."""
