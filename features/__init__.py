"""Feature stores: what `extract` writes and `train` reads."""
