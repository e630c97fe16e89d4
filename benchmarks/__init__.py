"""The judges: metrics, protocols, predictions files, evaluator, leaderboard; and the runs that hand models to them.

Scoring sees a model only through its predictions file; `runs` and `training_runs` are the only modules that run one.
"""
