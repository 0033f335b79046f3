"""The panel below the pictures of an overlay: for each score its range, the expected range, the score so far, and the attention; then a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, DIM, BAR, NOW, PAPER = (240, 240, 240), (165, 165, 170), (70, 120, 190), (255, 180, 60), (24, 24, 28)
BAND, WARN = (62, 84, 120), (255, 140, 110)
LINES = 26
"""Lines of text that a square of the panel's width would hold: shown 320 pixels wide, letters are 12 pixels high."""


def _end(value: float) -> str:
    """Of a range: at most two digits after the point where that says enough, as in 25, 6.5 and 0.004."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 0.1 else f"{value:.2g}"


@dataclass(frozen=True)
class Track:
    """What the heads of one score say about the clips of a video; times in seconds from the first picture."""

    title: str
    start_seconds: Sequence[float]
    end_seconds: Sequence[float]
    shares: Sequence[float]
    """Share of the attention per clip; empty for a head without attention."""
    running: Sequence[float]
    """The score after each clip; empty where the heads give none."""
    whole: str
    """The score of the whole video in words."""
    limits: tuple[float, float] | None = None
    """Lowest and highest score that there can be."""
    interval: tuple[float, float] | None = None
    """The expected range of the whole video's score."""
    warning: str = ""
    """What makes the scores meaningless; empty where nothing does."""

    @property
    def scale(self) -> tuple[float, float]:
        """The ends of the range that is drawn."""
        values = [*self.running, *(self.limits or ()), *(self.interval or ())]
        low, high = min(values, default=0.0), max(values, default=1.0)
        return (low, high) if high > low else (low - 0.5, high + 0.5)


class Panel:
    """Drawn once; `at` adds what changes with time."""

    def __init__(self, width: int, tracks: Sequence[Track]) -> None:
        self._width, self._tracks = width, tracks
        self._line = max(width // LINES, 12)
        self._font = ImageFont.load_default(self._line * 0.82)
        self._pad = max(self._line // 3, 3)
        self._row = self._line * 5 // 4
        self._bars = 2 * self._line
        self._end = max((track.end_seconds[-1] for track in tracks if track.end_seconds), default=1.0)
        self._tops, top = [], self._pad
        for track in tracks:
            self._tops.append(top)
            top += (self._row * 3 if track.running else self._row * 2) + (self._bars if track.shares else 0) + self._pad
        self._legend_top = top
        legend = self._legend(None)
        self.height = top + legend + self._pad
        self.height += self.height % 2
        self._paper = Image.new("RGB", (width, self.height), PAPER)
        draw = ImageDraw.Draw(self._paper)
        for track, top in zip(tracks, self._tops):
            self._draw_still(draw, track, top)
        self._legend(draw)

    def _x(self, seconds: float) -> int:
        return min(int(seconds / self._end * self._width), self._width - 1)

    def _score_x(self, track: Track, score: float) -> int:
        low, high = track.scale
        return self._pad + round((score - low) / (high - low) * (self._width - 2 * self._pad - 1))

    def _draw_still(self, draw: ImageDraw.ImageDraw, track: Track, top: int) -> None:
        room = self._width - 2 * self._pad
        so_far = self._font.getlength(so_far_text(0.0)) * 1.4 if track.running else 0
        draw.text((self._pad, top), self._fitted(track.title, room - so_far), font=self._font, fill=DIM)
        top += self._row
        if track.running:
            middle, (low, high) = top + self._line // 2, track.scale
            if track.interval:
                ends = [self._score_x(track, end) for end in track.interval]
                draw.rectangle((ends[0], top + 1, max(ends[1], ends[0] + 1), top + self._line - 1), fill=BAND)
            draw.line((self._pad, middle, self._width - self._pad, middle), fill=DIM)
            draw.text((self._pad, top + self._row), _end(low), font=self._font, fill=DIM)
            draw.text((self._width - self._pad, top + self._row), _end(high), font=self._font, fill=DIM, anchor="ra")
            edges = 2 * max(self._font.getlength(_end(end)) for end in (low, high)) + 4 * self._pad
            whole = self._fitted(track.whole, self._width - edges)
            draw.text((self._width // 2, top + self._row), whole, font=self._font, fill=INK, anchor="ma")
        else:
            draw.text((self._pad, top), self._fitted(track.whole, room), font=self._font, fill=INK)
        for box in self._boxes(track, self._bars_top(track, top - self._row)):
            draw.rectangle(box, fill=BAR)

    def _bars_top(self, track: Track, top: int) -> int:
        return top + self._row * (3 if track.running else 2)

    def _legend(self, draw: ImageDraw.ImageDraw | None) -> int:
        """Draw it, if there is something to draw on, and return its height."""
        entries: list[tuple[tuple[int, int, int] | None, str, tuple[int, int, int]]] = []
        if any(track.running for track in self._tracks):
            entries.append((NOW, "score so far", DIM))
        if any(track.running and track.interval for track in self._tracks):
            entries.append((BAND, "judges' score expected", DIM))
        if any(track.shares for track in self._tracks):
            entries.append((BAR, "where the model looked", DIM))
        entries += [(None, text, WARN) for text in dict.fromkeys(t.warning for t in self._tracks if t.warning)]
        x, y, box = self._pad, self._legend_top, self._line * 2 // 3
        for colour, text, fill in entries:
            left = box + self._pad if colour else 0
            text = self._fitted(text, self._width - 2 * self._pad - left)
            length = int(left + self._font.getlength(text))
            if x > self._pad and x + length > self._width - self._pad:
                x, y = self._pad, y + self._row
            if draw and colour:
                draw.rectangle((x, y + self._line // 4, x + box, y + self._line // 4 + box), fill=colour)
            if draw:
                draw.text((x + left, y), text, font=self._font, fill=fill)
            x += length + 2 * self._pad
        return y + self._row - self._legend_top if entries else 0

    def _fitted(self, text: str, room: float) -> str:
        while len(text) > 2 and self._font.getlength(text) > room:
            text = text[:-2] + "…"
        return text

    def _boxes(self, track: Track, top: int) -> list[tuple[int, int, int, int]]:
        """Left, top, right and bottom of each clip's bar."""
        highest = max(track.shares, default=1.0) or 1.0
        foot = top + self._bars
        boxes = []
        for start, end, share in zip(track.start_seconds, track.end_seconds, track.shares):
            left, height = self._x(start), max(round(share / highest * self._bars), 1)
            boxes.append((left, foot - height, max(self._x(end) - 1, left), foot))
        return boxes

    def at(self, seconds: float) -> np.ndarray:
        """uint8 `(height, width, 3)`: the panel at a moment."""
        picture = self._paper.copy()
        draw = ImageDraw.Draw(picture)
        for track, top in zip(self._tracks, self._tops):
            # Clips may overlap or leave gaps: the last one that has begun counts.
            index = max(int(np.searchsorted(track.start_seconds, seconds, side="right")) - 1, 0)
            bars = self._bars_top(track, top)
            boxes = self._boxes(track, bars)
            if boxes:
                draw.rectangle(boxes[index], fill=NOW)
                x = self._x(seconds)
                draw.line((x, bars, x, bars + self._bars), fill=INK)
            if track.running:
                x, half = self._score_x(track, track.running[index]), max(self._line // 8, 1)
                draw.rectangle((x - half, top + self._row, x + half, top + self._row + self._line), fill=NOW)
                text = so_far_text(track.running[index])
                draw.text((self._width - self._pad, top), text, font=self._font, fill=INK, anchor="ra")
        return np.asarray(picture)


so_far_text: Callable[[float], str] = "so far {:.2f}".format
