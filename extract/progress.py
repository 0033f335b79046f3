"""Progress of extraction: videos, clips and downloads, and the note about random weights."""

from __future__ import annotations

import time
from collections.abc import Mapping

from longtake.errors import printable
from longtake.extract.records import VideoResult
from longtake.progress import Progress, Shown

RANDOM_NOTE = "RANDOM weights: these features are for trials, not for results; the store is marked accordingly"


class VideoProgress(Progress):
    """Videos, and the clips of those that are not finished. The share that is done and the time left go by clips, and by the lengths
    of videos where they are known."""

    def __init__(
        self, num_videos: int, num_done: int, networks: str, shown: Shown = Shown.AUTO,
        lengths: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        """`lengths` in seconds by video id, for all videos or for none; only their ratios matter."""
        super().__init__(num_videos, "video", shown, bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}{postfix}")
        self._num_videos, self._num_clips = num_videos, 0
        self._lengths = lengths if lengths and any(lengths.values()) else None
        self._all = float(num_videos) if self._lengths is None else sum(self._lengths.values())
        self._finished = 0.0
        """Of `_all`."""
        self._open: dict[str, tuple[int, int]] = {}
        """Of each video that is read and not stored yet: its clips that are computed, and all that it has."""
        line = f"{num_videos} videos to do, {num_done} done before" + (f"; {networks}" if networks else "")
        self.say("start", line, always=True, videos=num_videos, done_before=num_done, networks=networks)

    def clips(self, video_id: str, num_done: int, num_clips: int) -> None:
        """So many clips of a video are computed, of all that it has."""
        # A video that is read again from its start counts its clips again: they cost time again.
        self._num_clips += max(num_done - self._open.get(video_id, (0, 0))[0], 0)
        self._open[video_id] = num_done, num_clips
        self._doing = f"{printable(video_id)}: clip {num_done} of {num_clips}"

    def video(self, result: VideoResult) -> None:
        self._open.pop(result.video_id, None)
        self._finished += self._length(result.video_id)
        self._done += 1
        self._doing = printable(result.video_id)
        self.redraw()
        failure = result.failure
        what = f"failed ({failure.error_stage})" if failure else f"{result.num_clips} clips"
        what += f"; {result.remark}" if result.remark else ""
        self.say(
            "video",
            f"[{self._done}/{self._num_videos}] {result.video_id}: {what}",
            always=bool(result.remark),
            video_id=result.video_id,
            clips=result.num_clips,
            failed=failure.error_stage if failure else None,
            message=failure.error_message if failure else result.remark or None,
        )

    def _length(self, video_id: str) -> float:
        return 1.0 if self._lengths is None else self._lengths[video_id]

    @property
    def share(self) -> float:
        """What is done of all videos, from 0 to 1."""
        # A copy: another thread draws the bar.
        parts = [self._length(name) * done / num for name, (done, num) in self._open.copy().items() if num]
        return (self._finished + sum(parts)) / self._all if self._all else 1.0

    @property
    def seconds_left(self) -> float | None:
        return self._left(self.share, 1 - self.share)

    def _counts(self) -> str:
        rate = self._num_clips / max(time.monotonic() - self._began, 1e-9)
        clips = f"{self._num_clips} clips, {rate:.3g} clips/s" if self._num_clips else ""
        return ", ".join(filter(None, [f"{self._done}/{self._num_videos} videos", clips, self.time_left]))

    def status(self) -> str:
        return f"{100 * self.share:.0f}%, {self._counts()}" + (f"; {self._doing}" if self._doing else "")

    def redraw(self) -> None:
        if self.on_terminal:
            self.bar.set_description(self._doing, refresh=False)
            self.bar.set_postfix_str(self._counts(), refresh=False)
            self.bar.n = self.share * self._num_videos
            self.bar.refresh()


class DownloadProgress(Progress):
    """Bytes of weights; silent until there are any."""

    def __init__(self, shown: Shown = Shown.AUTO) -> None:
        super().__init__(None, "B", shown, unit_scale=True, delay=0.5)

    def __call__(self, num_bytes: int, total: int | None) -> None:
        self.at(num_bytes, total)

    def status(self) -> str:
        whole = f" of {self._total / 1e6:.0f}" if self._total else ""
        return (
            f"weights: {self._done / 1e6:.0f}{whole} MB" + (f", {self.time_left}" if self.time_left else "")
            if self._done
            else ""
        )
