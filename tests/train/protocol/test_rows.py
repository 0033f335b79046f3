"""Rows of a table of results."""

from longtake.train.protocol.rows import Row

NUMBERS = dict.fromkeys(
    ("spearman", "spearman_deviation", "mse", "relative_l2", "ensemble_spearman", "ensemble_mse", "best_on_test", "validation_selected",
     "floor_spearman", "floor_mse", "control_spearman", "aiou_50", "aiou_75", "seconds_per_epoch"), 0.5,
)  # fmt: skip


def test_runs_of_older_releases_count_the_videos_of_one_fold():
    assert Row("A", "total", 10, 4, **NUMBERS).num_tested == 4
    assert Row("A", "total", 10, 4, **NUMBERS, num_videos=9).num_tested == 9
