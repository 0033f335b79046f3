"""What a head's queries are, and the clips that they ask."""

import numpy as np
import torch

from longtake.features.store import open_store
from longtake.train.runs.asked_clips import asked_clips
from longtake.train.runs.evaluate import load_run


def test_clips_without_padding_and_the_queries_of_the_head(small_lab):
    with open_store(small_lab / "s.h5") as store:
        head, config, maker = next(iter(load_run(small_lab / "gslm", store)))
        ridge = next(iter(load_run(small_lab / "ridge", store)))
    videos = maker.data.video_ids[:3]
    asked = asked_clips(head, config, maker, videos)
    assert asked.clips.shape == (sum(min(int(n), config.window) for n in maker.data.num_clips[:3]), 16)
    assert np.array_equal(asked.queries, head.grades_queries.detach().numpy())
    (batch,) = maker.test(
        np.arange(1), np.zeros(1), window=config.window, test_window=config.train_settings.test_window, batch_size=1
    )
    with torch.no_grad():
        first = head.context(batch.clips, batch.mask)[batch.mask]
    assert np.allclose(asked_clips(head, config, maker, videos[:1]).clips, first, atol=1e-5)
    assert asked_clips(head, config, maker, []) is None
    assert asked_clips(*ridge, list(ridge[2].data.video_ids[:1])) is None
