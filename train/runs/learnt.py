"""Which videos of a store the heads of a run learnt from: their scores say nothing about new videos."""

from __future__ import annotations

from pathlib import Path

from longtake.train.data.dataset import FeatureSet
from longtake.train.engine.head_config import HeadConfig
from longtake.train.protocol.splits import training_rows
from longtake.train.runs.tables import PREDICTIONS, read_predictions, tested_as


class Training:
    """Of a run, from its predictions.csv, if it has one, and the splits of the store."""

    def __init__(self, run_folder: Path) -> None:
        has_file = (run_folder / PREDICTIONS).exists()
        self._tested = [row for row in read_predictions(run_folder) if not row.control] if has_file else []

    def learnt(self, data: FeatureSet, config: HeadConfig, dataset: str, category: str, score: str) -> set[str]:
        """Ids of the videos that a head learnt from, as far as the store tells, whose videos are `data`."""
        if dataset not in config.dataset.split("+"):
            return set()
        of_head = [row for row in self._tested if tested_as(row.category, category, dataset, config.dataset)]
        tested = [row for row in of_head if row.score == score]
        own = {row.video_id for row in tested if row.fold == ("" if config.fold is None else str(config.fold))}
        if score not in data.scores:
            return set()
        if config.fold is None:
            rows = training_rows(data, category, score)
            return {data.video_ids[row] for row in rows} - own
        others = {row.video_id for row in tested} - own
        rows = data.rows(split="train", category=category or None, score=score)
        # With folds of the dataset's own, `train` trains for each; those that are cut share it out.
        always = {data.video_ids[row] for row in rows} - own if not config.folds else set()
        return others | always
