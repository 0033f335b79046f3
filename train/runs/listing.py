"""What `train list` shows: the heads with their sizes, and the runs of a folder with their results."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from longtake.manifests.card import Card
from longtake.train.data.dataset import ScoreScale
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import TABLE, get_head
from longtake.train.heads.base import Batch, Head, Needs, Prototypes, SecondStream
from longtake.train.heads.staged import GROUPS
from longtake.train.protocol.rows import AVERAGE
from longtake.train.protocol.settings import build_settings, card_settings, settings_kinds
from longtake.train.runs.compare import line_of
from longtake.train.runs.fitted import Cell, fitted_table
from longtake.train.runs.records import METRICS
from longtake.train.runs.tables import few_mark, figure_cell, shown_error, shown_interval
from longtake.train.uncertainty import Interval

AUDIO_DIM, TEXT_DIM = 768, 512
"""Of AST and of CLIP, which the papers use."""
QGVL_TEXTS = {"grades": 4, "scores": 101}
MVLA_FRAMES = 96


def describe_heads(card: Card, dim: int = 1024) -> list[dict[str, Any]]:
    """Every head for the shapes of a dataset: trainable parameters, and operations for one video of its window. Settings are those that
    `train heads` takes for the dataset's first category.

    A multiplication with an addition counts as two operations, as torch's counter has it.
    """
    texts = dict(QGVL_TEXTS)
    for prompts in card.prompts.values():
        texts |= {group: len(entries) for group, entries in prompts.groups.items()}
    num_clips = card.window_clips or 68
    batch = Batch(
        torch.zeros(1, num_clips, dim), torch.ones(1, num_clips, dtype=torch.bool), torch.zeros(1), (0,),
        torch.zeros(1, num_clips, AUDIO_DIM),
    )  # fmt: skip
    stated = card.scores[card.default_scores[0] if card.default_scores else next(iter(card.scores))]
    scale = ScoreScale(stated.name, stated.minimum, stated.maximum, True)
    times = torch.arange(num_clips + 1.0)
    batch = replace(batch, seconds=torch.stack([times[:-1], times[1:]], -1)[None])
    rows = []
    for name in TABLE:
        head_class = get_head(name)
        arrays = {group: np.ones((count, TEXT_DIM), np.float32) for group, count in texts.items()}
        about = (head_class.__doc__ or "").strip().splitlines()[0]
        row: dict[str, Any] = {
            "head": name,
            "parameters": None,
            "flops_per_video": None,
            "about": about,
            **_facts(head_class),
        }
        rows.append(row)
        facts = card_settings(card, scale, head_class.Settings)
        category = card.categories[0] if card.categories else ""
        settings = build_settings(name, card.name, category, facts, settings_kinds(name)).head
        try:
            needs = head_class.needs(settings)
        except SettingsError as error:
            row["about"] = f"{error}. {about}"
            continue
        row["needs"] = _described(needs)
        missing = [group for group in needs.texts if group not in arrays]
        if missing:
            row["about"] = f"{card.name} has no texts {', '.join(missing)}. {about}"
            continue
        second, given = AUDIO_DIM, batch
        if set(GROUPS) <= set(needs.terms):
            given, second = _with_frames(batch, needs.boundaries), TEXT_DIM
        streams = {name: torch.zeros(1, num_clips, dim) for name in needs.streams}
        given = replace(given, streams=streams, scores=torch.ones(1, len(needs.columns)))
        # Heads that compare are counted with one exemplar.
        given = replace(given, exemplar=given, voters=torch.zeros(1, 1, dtype=torch.int64))
        head = head_class(dim, settings, Prototypes(arrays, random=False), second, dict.fromkeys(streams, dim)).eval()
        row["parameters"] = sum(parameter.numel() for parameter in head.parameters())
        # With gradients, because without them torch takes a fused path whose operations its counter does not know.
        # Without oneDNN, whose LSTM is one operation that the counter does not know; switching it warns of GPUs that are not used.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
                head(given)
        row["flops_per_video"] = counter.get_total_flops()
    return rows


def _facts(head_class: type[Head]) -> dict[str, Any]:
    """Where a head comes from, as it states itself; None where there is nothing."""
    source = head_class.SOURCE
    return {
        "paper": source.paper or None,
        "year": source.year or None,
        "code": source.code or None,
        "re_implemented_from_description": source.described,
        "golden": list(source.golden),
        "sees_video": head_class.sees_video,
        "needs": [],
    }


def _described(needs: Needs) -> list[str]:
    """What a head must be given in addition to clips."""
    return [
        *(["sound"] if needs.audio else []),
        *(f"stream {name}" for name in needs.streams),
        *(["a second stream, if there is one"] if needs.second_stream else []),
        *(f"texts {group}" for group in needs.texts),
        *(["exemplars"] if needs.exemplars else []),
        *(["boundaries of stages"] if needs.boundaries else []),
        *([f"groups {', '.join(needs.groups) or 'of the labels'}"] if needs.groups is not None else []),
        *(f"score {name}" for name in needs.columns),
    ]


def _with_frames(batch: Batch, num_boundaries: int) -> Batch:
    """In addition to the clips, CLIP's features of as many frames as MVLA takes."""
    starts = torch.arange(MVLA_FRAMES, dtype=torch.float32)[None] * batch.mask.shape[1] / MVLA_FRAMES
    seconds = torch.stack([starts, starts + batch.mask.shape[1] / MVLA_FRAMES], -1)
    frames = SecondStream(torch.zeros(1, MVLA_FRAMES, TEXT_DIM), torch.ones(1, MVLA_FRAMES, dtype=torch.bool), seconds)
    return replace(batch, audio=None, second_stream=frames, terms=torch.zeros(1, num_boundaries + 2, dtype=torch.long))


def describe_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run in a folder, the newest last, with its average or its only result; what is not a run with results is left out."""
    found = []
    for path in sorted(folder.glob(f"*/{METRICS}"), key=lambda path: path.stat().st_mtime_ns):
        try:
            dataset, line = line_of(path.parent)
        except DataError:
            continue
        key = (AVERAGE, "") if (AVERAGE, "") in line.mse else next(iter(line.mse), ("", ""))
        changed = datetime.fromtimestamp(path.stat().st_mtime)
        facts = {
            "dataset": dataset,
            "run": line.method,
            "features": line.features,
            "figures_of": line.source,
            "changed": changed.isoformat(timespec="seconds"),
        }
        found.append(
            {
                **facts,
                "spearman": line.spearman.get(key),
                "mse": line.mse.get(key),
                "num_videos": line.num_videos.get(key),
                "spearman_interval": asdict(one) if (one := line.spearman_interval.get(key)) else None,
            }
        )
    return found


def format_runs(runs: list[dict[str, Any]]) -> str:
    """A line for each row of `describe_runs`."""
    rows: list[list[Cell]] = []
    for one in runs:
        interval = Interval(**one["spearman_interval"]) if one["spearman_interval"] else None
        mark = few_mark(one["num_videos"]) if one["num_videos"] else ""
        rho = "" if one["spearman"] is None else f"{one['spearman']:.3f}"
        mse = "" if one["mse"] is None else shown_error(one["mse"])
        date = one["changed"].replace("T", " ")[:16]
        figures = [figure_cell(rho, shown_interval(interval, 3), mark), mse]
        rows.append([one["run"], date, one["dataset"], one["features"], *figures, one["figures_of"]])
    return fitted_table(["run", "date", "dataset", "features", "Spearman", "MSE", "figures of"], rows)


def format_heads(rows: list[dict[str, Any]]) -> str:
    """A line for each row of `describe_heads`."""
    lines = []
    for row in rows:
        if row["parameters"] is None:
            counts = "needs what the card lacks"
        elif row["parameters"]:
            counts = f"{row['parameters']:,} parameters, {row['flops_per_video'] / 1e9:.2f} GFLOP"
        else:
            counts = "fitted in closed form"
        lines.append(f"{row['head']:13} {counts:38} {row['about']}")
        lines += [f"{'':13} {line}" for line in _origin(row)]
    return "\n".join(lines)


def _origin(row: dict[str, Any]) -> list[str]:
    """The paper, its code, what proves the head, and what it needs."""
    needs = [f"needs {', '.join(row['needs'])}"] if row["needs"] else []
    if not row["paper"]:
        return needs
    code = f"code {row['code']}" if row["code"] else "no code published: re-implemented from the description"
    golden = f"; compared with its numbers ({', '.join(row['golden'])})" if row["golden"] else ""
    return [f"{row['paper']}; {code}{golden}", *needs]
