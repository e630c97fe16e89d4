"""Runs beside each other: leaderboard, published figures, paired comparison."""
