"""Progress of extraction: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

import click
from tqdm import tqdm

from extract.run import Finished


class _Bar:
    def __init__(self, **settings: object) -> None:
        self.bar = tqdm(disable=not sys.stderr.isatty(), **settings)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


class CountProgress(_Bar):
    """Things of one kind, one by one."""

    def __init__(self, total: int, unit: str) -> None:
        super().__init__(total=total, unit=unit)

    def step(self, *_: object) -> None:
        self.bar.update()


class VideoProgress(_Bar):
    """Videos, with the clips done so far."""

    def __init__(self, num_videos: int, num_done: int) -> None:
        super().__init__(total=num_videos, unit="video")
        self._num_videos, self._finished, self._num_clips = num_videos, 0, 0
        if self.bar.disable:
            click.echo(f"{num_videos} videos to do, {num_done} done before", err=True)

    def clips(self, num_clips: int) -> None:
        self._num_clips += num_clips
        self.bar.set_postfix(clips=self._num_clips)

    def video(self, finished: Finished) -> None:
        self._finished += 1
        self.bar.set_description(finished.video_id, refresh=False)
        self.bar.update()
        if self.bar.disable:
            failure = finished.failure
            what = f"failed ({failure.error_stage})" if failure else f"{finished.num_clips} clips"
            click.echo(f"[{self._finished}/{self._num_videos}] {finished.video_id}: {what}", err=True)


class DownloadProgress(_Bar):
    """Bytes of weights; silent until there are any."""

    def __init__(self) -> None:
        super().__init__(unit="B", unit_scale=True, delay=0.5)

    def __call__(self, num_bytes: int, total: int | None) -> None:
        self.bar.total = total
        self.bar.update(num_bytes - self.bar.n)
