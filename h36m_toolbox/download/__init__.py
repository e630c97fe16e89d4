"""The official site's archives with one's own session, and what other authors publish."""
