"""Progress of extraction: videos, clips and downloads, and the note about random weights."""

from __future__ import annotations

from longtake.extract.records import VideoResult
from longtake.progress import Progress, Shown

RANDOM_NOTE = "RANDOM weights: these features are for trials, not for results; the store is marked accordingly"


class VideoProgress(Progress):
    """Videos, with the clips done so far."""

    def __init__(self, num_videos: int, num_done: int, networks: str, shown: Shown = Shown.AUTO) -> None:
        super().__init__(num_videos, "video", shown)
        self._num_videos, self._finished, self._num_clips = num_videos, 0, 0
        line = f"{num_videos} videos to do, {num_done} done before" + (f"; {networks}" if networks else "")
        self.say("start", line, always=True, videos=num_videos, done_before=num_done, networks=networks)

    def note(self, line: str) -> None:
        self.say("note", line, always=True, message=line)

    def clips(self, num_clips: int) -> None:
        self._num_clips += num_clips
        self.bar.set_postfix(clips=self._num_clips)

    def video(self, result: VideoResult) -> None:
        self._finished += 1
        self.step(result.video_id, clips=self._num_clips)
        failure = result.failure
        what = f"failed ({failure.error_stage})" if failure else f"{result.num_clips} clips"
        what += f"; {result.remark}" if result.remark else ""
        self.say(
            "video",
            f"[{self._finished}/{self._num_videos}] {result.video_id}: {what}",
            always=bool(result.remark),
            video_id=result.video_id,
            clips=result.num_clips,
            failed=failure.error_stage if failure else None,
            message=failure.error_message if failure else result.remark or None,
        )


class DownloadProgress(Progress):
    """Bytes of weights; silent until there are any."""

    def __init__(self, shown: Shown = Shown.AUTO) -> None:
        super().__init__(None, "B", shown, unit_scale=True, delay=0.5)

    def __call__(self, num_bytes: int, total: int | None) -> None:
        self.bar.total = total
        self.bar.update(num_bytes - self.bar.n)
