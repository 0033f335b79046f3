"""The demo's pictures: an arena, a carpet, a gymnast with a ribbon, drawn with OpenCV."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from longtake.extract.demo.motion import HIP_HALF, JOINTS, move
from longtake.extract.demo.routine import Routine

WIDTH, HEIGHT = 320, 240
Colour = tuple[int, int, int]
SKINS = ((241, 200, 170), (224, 172, 135), (190, 132, 95), (135, 88, 60))
HAIRS = ((40, 26, 20), (92, 58, 34), (178, 134, 74), (25, 22, 28))
SUBPIXELS = 16
"""OpenCV takes coordinates in 16ths of a pixel; whole pixels would make slow motion jump."""
PITCH = 0.28
"""How much depth shows as height: the camera looks slightly down."""


@dataclass(frozen=True)
class Look:
    """What varies between videos and does not influence the score. Colours are RGB, 0-255."""

    wall: Colour
    carpet: Colour
    leotard: Colour
    ribbon: Colour
    skin: Colour
    hair: Colour
    zoom: float
    """Pixels per metre."""
    centre_x: float
    floor_y: float
    """Pixels from the top, of the floor at depth 0."""
    crowd_seed: int


def choose_look(routine: Routine) -> Look:
    """The look of a routine, from its nuisance seed alone."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((routine.nuisance_seed, 3))))
    hue = generator.uniform()
    ribbon_hue = hue + generator.uniform(0.3, 0.7)
    return Look(
        wall=_hsv(hue, generator.uniform(0.25, 0.5), generator.uniform(0.28, 0.42)),
        carpet=_hsv(hue + generator.uniform(-0.12, 0.12), generator.uniform(0.15, 0.35), generator.uniform(0.55, 0.72)),
        leotard=_hsv(ribbon_hue + generator.uniform(-0.1, 0.1), 0.85, generator.uniform(0.6, 0.8)),
        ribbon=_hsv(ribbon_hue, generator.uniform(0.65, 0.9), 1.0),
        skin=SKINS[generator.integers(len(SKINS))],
        hair=HAIRS[generator.integers(len(HAIRS))],
        zoom=generator.uniform(61, 70),
        centre_x=WIDTH / 2 + generator.uniform(-12, 12),
        floor_y=generator.uniform(204, 214),
        crowd_seed=int(generator.integers(2**31)),
    )


def draw_frames(routine: Routine) -> Iterator[np.ndarray]:
    """The pictures of a routine in order, uint8 RGB `(240, 320, 3)`. Each is a new array."""
    import cv2

    look, motion = choose_look(routine), move(routine)
    arena = _draw_arena(look)
    joints, ribbon = _project(motion.joints, look), _project(motion.ribbon, look)
    # The line of the hips is across the direction she faces, so its depth shows how far she faces right (1) or left (-1).
    facing = (motion.joints[:, JOINTS.index("hip_r"), 2] - motion.joints[:, JOINTS.index("hip_l"), 2]) / (2 * HIP_HALF)
    flying = motion.joints[:, JOINTS.index("pelvis"), 1] - 0.85
    shadows = _project(motion.joints[:, JOINTS.index("pelvis")] * np.array([1, 0, 1]), look)
    for index in range(len(joints)):
        picture = arena.copy()
        radius = int(look.zoom * (0.42 - 0.12 * max(flying[index], 0)) * SUBPIXELS)
        shade = tuple(int(0.72 * value) for value in look.carpet)
        cv2.ellipse(picture, _pair(shadows[index]), (radius, radius // 5), 0, 0, 360, shade, -1, cv2.LINE_AA, 4)
        _draw_gymnast(picture, joints[index], look, facing[index])
        _draw_ribbon(picture, ribbon[index], look)
        yield picture


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _shaded(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(factor * channel)) for channel in colour)
    return red, green, blue


def _project(points: np.ndarray, look: Look) -> np.ndarray:
    """Metres `(..., xyz)` -> 16ths of a pixel `(..., xy)`, int32."""
    x = look.centre_x + look.zoom * points[..., 0]
    y = look.floor_y - look.zoom * points[..., 1] + look.zoom * PITCH * points[..., 2]
    return np.round(SUBPIXELS * np.stack([x, y], axis=-1)).astype(np.int32)


def _pair(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _draw_arena(look: Look) -> np.ndarray:
    """Wall, tiers, boards and carpet: the part of the picture that never moves."""
    import cv2

    horizon = int(look.floor_y - 34)
    fade = np.linspace(0.65, 1.1, horizon)[:, None, None]
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:horizon] = np.clip(fade * np.array(look.wall), 0, 255)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(look.crowd_seed)))
    for row in range(5):  # spectators in the dark
        for column in range(0, WIDTH, 11):
            x, y = column + int(generator.integers(0, 8)), 12 + 13 * row + int(generator.integers(0, 4))
            cv2.circle(picture, (x, y), 4, _shaded(look.wall, generator.uniform(0.6, 1.25)), -1, cv2.LINE_AA)
    picture[: 5 * 13 + 16] = cv2.GaussianBlur(picture[: 5 * 13 + 16], (5, 5), 0)
    picture[horizon - 26 : horizon] = _shaded(look.wall, 1.7)
    picture[horizon - 26 : horizon - 23] = _shaded(look.wall, 2.1)
    picture[horizon:] = _shaded(look.carpet, 0.7)
    near, far = HEIGHT - 6, horizon + 8
    corners = np.array([[look.centre_x - 130, far], [look.centre_x + 130, far], [look.centre_x + 178, near],
                        [look.centre_x - 178, near]], np.int32)  # fmt: skip
    cv2.fillConvexPoly(picture, corners, look.carpet, cv2.LINE_AA)
    cv2.polylines(picture, [corners], True, _shaded(look.carpet, 1.3), 2, cv2.LINE_AA)
    return picture


def _draw_gymnast(picture: np.ndarray, points: np.ndarray, look: Look, facing: float) -> None:
    import cv2

    at = dict(zip(JOINTS, points))
    near, far = ("r", "l") if facing >= 0 else ("l", "r")
    pixel = look.zoom / 56 * SUBPIXELS

    def limb(names: tuple[str, ...], radii: tuple[float, ...], colour: Colour) -> None:
        """A chain of tapered bones with round joints."""
        for (one, radius), (two, next_radius) in zip(zip(names, radii), zip(names[1:], radii[1:])):
            along = (at[two] - at[one]).astype(float)
            across = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-6) * pixel
            corners = [at[one] + radius * across, at[two] + next_radius * across,
                       at[two] - next_radius * across, at[one] - radius * across]  # fmt: skip
            cv2.fillConvexPoly(picture, np.round(corners).astype(np.int32), colour, cv2.LINE_AA, 4)
        for name, radius in zip(names, radii):
            cv2.circle(picture, _pair(at[name]), int(radius * pixel), colour, -1, cv2.LINE_AA, 4)

    def arm(side: str, light: float) -> None:
        limb((f"shoulder_{side}", f"elbow_{side}", f"hand_{side}"), (2.6, 2.0, 1.6), _shaded(look.skin, light))
        if side == "r":
            cv2.line(picture, _pair(at["grip"]), _pair(at["tip"]), (245, 240, 230), 1, cv2.LINE_AA, 4)

    def leg(side: str, light: float) -> None:
        limb((f"hip_{side}", f"knee_{side}", f"ankle_{side}"), (4.6, 3.2, 2.0), _shaded(look.skin, light))
        limb((f"ankle_{side}", f"toe_{side}"), (2.0, 1.2), _shaded((245, 235, 225), light))

    arm(far, 0.8)
    leg(far, 0.8)
    leg(near, 1.0)
    limb(("pelvis", "chest"), (4.6, 4.0), look.leotard)
    trunk = np.array([at["shoulder_r"], at["shoulder_l"], at["hip_l"], at["hip_r"]], np.int32)
    cv2.fillConvexPoly(picture, cv2.convexHull(trunk), look.leotard, cv2.LINE_AA, 4)
    cv2.circle(picture, _pair(at[f"hip_{near}"]), int(4.6 * pixel), look.leotard, -1, cv2.LINE_AA, 4)
    limb(("chest", "head"), (2.0, 2.0), _shaded(look.skin, 0.92))
    cv2.circle(picture, _pair(at["head"]), int(6.0 * pixel), look.skin, -1, cv2.LINE_AA, 4)
    upwards = (at["head"] - at["chest"]) / (np.hypot(*(at["head"] - at["chest"])) + 1e-6) * pixel
    backwards = facing * np.array([upwards[1], -upwards[0]])
    for up, back, radius in ((1.8, 1.8, 5.2), (6.5, 4.0, 2.8)):  # hair and bun
        centre = np.round(at["head"] + up * upwards + back * backwards)
        cv2.circle(picture, _pair(centre), int(radius * pixel), look.hair, -1, cv2.LINE_AA, 4)
    arm(near, 1.0)


def _draw_ribbon(picture: np.ndarray, points: np.ndarray, look: Look) -> None:
    """A satin band: broad, with a bright edge."""
    import cv2

    cv2.polylines(picture, [points], False, _shaded(look.ribbon, 0.85), 3, cv2.LINE_AA, 4)
    cv2.polylines(picture, [points], False, _shaded(look.ribbon, 1.15), 1, cv2.LINE_AA, 4)
