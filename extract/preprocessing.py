"""Frame, sound and clip rules as data: how a decoded video becomes the input of a network. Nothing here opens a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Per channel R, G, B of 8-bit values; most networks were trained with them."""
SWSCALE_BILINEAR, PILLOW_BILINEAR, PILLOW_BICUBIC = "libswscale bilinear", "pillow bilinear", "pillow bicubic"
OPENCV_BILINEAR = "opencv bilinear"
RESIZES = (SWSCALE_BILINEAR, PILLOW_BILINEAR, PILLOW_BICUBIC, OPENCV_BILINEAR)
MOST_FRAMES = 100_000
"""Limit for a clip, more than an hour: recipes also come from untrusted files."""


@dataclass(frozen=True)
class FrameRule:
    """How a decoded picture becomes the network's picture, in this order: resize, centre crop, optional second resize, normalise."""

    short_side: int
    """Pixels of the shorter side after resizing; the aspect ratio is kept."""
    crop_height: int
    """Pixels; centre crop after resizing. Smaller pictures get black borders."""
    crop_width: int
    mean: tuple[float, float, float]
    """Subtracted from 8-bit RGB values (0-255), per channel R, G, B."""
    std: tuple[float, float, float]
    """Then divided by this, per channel."""
    resize: str = SWSCALE_BILINEAR
    """The resampling filter, one of `RESIZES`. Libraries differ in their results, so it is part of the recipe. Pillow's filters are
    torchvision's on 8-bit pictures: antialiased, and slower than libswscale's. OpenCV's is torchvision's without antialiasing."""
    final_height: int = 0
    """Pixels after a second resize that ignores the aspect ratio; 0 for none."""
    final_width: int = 0
    square_pixels: bool = False
    """Pictures whose pixels are not square, by the file, are stretched to their shown shape by the first resize."""
    squash: bool = False
    """The first resize makes the whole picture as large as the crop and ignores the aspect ratio, so that nothing is cut off."""
    stretch_height: int = 0
    """Pixels after the first resize where that ignores the aspect ratio; 0 keeps the ratio, and then `short_side` counts."""
    stretch_width: int = 0

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise ValueError(f"resize takes one of {', '.join(RESIZES)}, got {self.resize!r}")
        if min(self.crop_height, self.crop_width, self.short_side) < 1:
            raise ValueError("sizes must be 1 pixel or more")
        if min(self.crop_height, self.crop_width) > self.short_side:
            raise ValueError(
                f"crop {self.crop_height}x{self.crop_width} does not fit a shorter side of {self.short_side} pixels"
            )
        for sides in ((self.final_height, self.final_width), (self.stretch_height, self.stretch_width)):
            if bool(sides[0]) != bool(sides[1]) or min(sides) < 0:
                raise ValueError("a resize that ignores the aspect ratio needs a height and a width")
        if self.stretch_height and self.short_side != min(self.stretch_height, self.stretch_width):
            raise ValueError("the shorter side must be that of the first resize")

    @property
    def height(self) -> int:
        return self.final_height or self.crop_height

    @property
    def width(self) -> int:
        return self.final_width or self.crop_width

    def facts(self) -> dict[str, object]:
        """For the recipe. Unused options are left out, so that a new option does not change old recipes."""
        found = asdict(self)
        if not self.final_height:
            del found["final_height"], found["final_width"]
        if not self.square_pixels:
            del found["square_pixels"]
        if not self.squash:
            del found["squash"]
        if not self.stretch_height:
            del found["stretch_height"], found["stretch_width"]
        return found


@dataclass(frozen=True)
class SoundRule:
    """How the sound of a clip becomes the network's input: Kaldi's log mel filter banks, normalised; or its samples, see `banks`."""

    sample_rate: int
    """Hz, after resampling to one channel."""
    mel_bins: int
    num_frames: int
    """Frames of 25 ms every 10 ms; shorter clips are padded with zeros at the end, longer ones are cut."""
    mean: float
    std: float
    """`(bank - mean) / (2 * std)`."""
    spans: str = "clips"
    """`clips`: the seconds of each clip. `equal parts`: as many equal parts of the whole sound as there are clips."""
    bank_rate: str = "sample rate"
    """`original rate` computes the banks as if the samples had the file's own rate, as one published set of features did."""
    offset: str = "minus mean"
    """Whether the mean of the samples is subtracted or, as in that published set, added."""
    banks: str = "kaldi"
    """`none` gives the samples themselves, for networks with a front end of their own: `num_frames` is the largest number of samples of a clip,
    `mel_bins` 1, and shorter clips end in NaN, so that their length is known."""
    missing: str = "fail"
    """For a file without sound: `fail` makes a failure row, `silence` gives the features of silence. A silent sound track is not a
    failure."""

    def __post_init__(self) -> None:
        choices = {
            "spans": ("clips", "equal parts"), "bank_rate": ("sample rate", "original rate"),
            "offset": ("minus mean", "plus mean"), "missing": ("fail", "silence"), "banks": ("kaldi", "none"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} takes {' or '.join(allowed)}, got {getattr(self, name)!r}")

    def facts(self) -> dict[str, object]:
        # An earlier recipe "silence" filled clips with another value than silent samples give, so this one has another name.
        found = asdict(self) | ({"missing": "silent samples"} if self.missing == "silence" else {})
        if self.banks == "kaldi":
            del found["banks"]
        return found


@dataclass(frozen=True)
class ClipRule:
    """Which frames make a clip. Length and stride count frames at `fps`; extract/clips.py does the windowing."""

    length: int
    stride: int
    tail: str
    """Policy for frames that do not fill a clip: a name in `longtake.extract.clips.TAILS`."""
    fps: float | None = None
    """Sampled frames per second; None takes every frame of the file."""
    num_frames: int = 0
    """This many frames, spread evenly over the whole routine; 0 takes them all. For short performances."""
    num_clips: int = 0
    """This many clips, spread evenly over the frames, overlapping if necessary; 0 follows stride and tail."""

    def __post_init__(self) -> None:
        if self.num_frames and self.num_frames < self.length or min(self.num_frames, self.num_clips) < 0:
            raise ValueError(f"{self.num_frames} frames do not make a clip of {self.length}")
        if not (1 <= self.length <= MOST_FRAMES and 1 <= self.stride <= MOST_FRAMES):
            raise ValueError(
                f"a clip needs a length and a stride of 1 to {MOST_FRAMES} frames, got {self.length} and {self.stride}"
            )
        if max(self.num_frames, self.num_clips) > MOST_FRAMES:
            raise ValueError(f"at most {MOST_FRAMES} frames or clips, got {self.num_frames} and {self.num_clips}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"--fps takes a rate above 0 and at most 1000, got {self.fps}")

    def extra_facts(self) -> dict[str, object]:
        """Options in use that a feature header has no field for."""
        return {name: getattr(self, name) for name in ("num_frames", "num_clips") if getattr(self, name)}
