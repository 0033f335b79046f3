"""The schedule of the learning rate."""

import numpy as np

from longtake.train.engine.loop import learning_rate
from longtake.train.engine.settings import TrainSettings


def test_schedule():
    settings = TrainSettings(epochs=110, warmup_epochs=10, lr=0.02, final_lr_ratio=0.01)
    rates = [learning_rate(settings, epoch) for epoch in range(110)]
    np.testing.assert_allclose(rates[:10], 0.02 * np.arange(1, 11) / 10)
    t = np.arange(100) / 100
    np.testing.assert_allclose(rates[10:], 0.02 * (0.01 + 0.99 * (1 + np.cos(np.pi * t)) / 2))
