"""How the demo's gymnast and her ribbon move: key poses -> angles -> joints and ribbon points, for all frames at once.

Metres and seconds. The room: x to the right, y up from the floor, z towards the camera. The body: swing angles turn in
the plane she faces, 0 hangs down, 90 points forward, 180 up; `open` and `out` angles lead an arm or leg sideways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from longtake.extract.demo.routine import BEATS_PER_ELEMENT, CATEGORIES, FALL_AT, FALL_SECONDS, FPS, Routine

TORSO, NECK, UPPER_ARM, FOREARM, THIGH, SHIN, FOOT = 0.5, 0.22, 0.27, 0.27, 0.43, 0.43, 0.16
HIP_HALF, SHOULDER_HALF, ANKLE_HEIGHT, STICK = 0.085, 0.15, 0.05, 0.3
REACH = 1.0
"""She turns round rather than travel further than this from the middle."""

ANGLES = ("lean", "head", "hip_r", "knee_r", "out_r", "hip_l", "knee_l", "out_l", "arm_r", "open_r", "elbow_r",
          "arm_l", "open_l", "elbow_l")  # fmt: skip
JOINTS = ("pelvis", "chest", "head", "shoulder_r", "elbow_r", "hand_r", "shoulder_l", "elbow_l", "hand_l", "hip_r",
          "knee_r", "ankle_r", "toe_r", "hip_l", "knee_l", "ankle_l", "toe_l", "grip", "tip")  # fmt: skip
NUM_RIBBON_POINTS = 56

Pose: TypeAlias = "Mapping[str, float | tuple[float, float]]"
"""Angles in degrees by name. A pair `(low, high)` is a value at amplitude 0 and at amplitude 1."""

STAND: Pose = dict(lean=2, head=0, hip_r=4, knee_r=2, out_r=2, hip_l=-6, knee_l=0, out_l=2, arm_r=75, open_r=25, elbow_r=8,
             arm_l=-20, open_l=55, elbow_l=10)  # fmt: skip
LYING: Pose = dict(lean=84, head=-25, hip_r=-84, knee_r=4, out_r=6, hip_l=-80, knee_l=45, out_l=12, arm_r=84, open_r=20,
             elbow_r=20, arm_l=70, open_l=25, elbow_l=40)  # fmt: skip
FINAL: Pose = dict(lean=-8, head=-15, hip_r=55, knee_r=95, out_r=5, hip_l=-38, knee_l=88, arm_r=150, open_r=15, arm_l=-70,
             open_l=40, elbow_r=0)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One kind of element. Pairs are as in `Pose`, but for `airborne`."""

    keys: tuple[tuple[float, Pose], ...]
    """`(fraction of the element, angles that differ from standing)`."""
    ribbon: str
    travel_m: tuple[float, float] = (0.0, 0.0)
    turns: tuple[int, int] = (0, 0)
    lift_m: tuple[float, float] = (0.0, 0.0)
    airborne: tuple[float, float] = (0.0, 0.0)
    """Fractions between which she (or, in a throw, the stick) flies."""
    throw_m: tuple[float, float] = (0.0, 0.0)


_STEP_R: Pose = dict(hip_r=(18, 50), knee_r=10, hip_l=(-14, -34), knee_l=(4, 10), arm_l=45, arm_r=100)
_STEP_L: Pose = dict(hip_l=(18, 50), knee_l=10, hip_r=(-14, -34), knee_r=(4, 10), arm_l=-45, arm_r=60)
_PASSE: Pose = dict(hip_r=(25, 100), knee_r=(50, 140), hip_l=0, arm_r=(110, 165), open_r=20, arm_l=(60, 160), open_l=35,
              elbow_l=30)  # fmt: skip
_KICK: Pose = dict(hip_r=(35, 165), knee_r=0, hip_l=(-2, -6), lean=(0, -10), arm_r=120, open_r=70, arm_l=90, open_l=80)
_KICK_L: Pose = dict(
    hip_l=(35, 165), knee_l=0, hip_r=(-2, -6), lean=(0, -10), arm_r=120, open_r=70, arm_l=90, open_l=80
)
_ARABESQUE: Pose = dict(hip_l=(-35, -150), knee_l=0, hip_r=0, knee_r=0, lean=(8, 48), head=(-5, -35), arm_r=(85, 120),
                  open_r=5, elbow_r=0, arm_l=-60, open_l=60)  # fmt: skip
_SPLIT: Pose = dict(hip_r=(35, 92), knee_r=(8, 0), hip_l=(-30, -88), knee_l=(12, 0), lean=(4, -6), arm_r=(100, 150),
              arm_l=-80, open_l=50, head=-8)  # fmt: skip
_CROUCH: Pose = dict(hip_r=35, knee_r=60, hip_l=20, knee_l=55, lean=20, arm_r=-20, arm_l=-60)
_OUT_RIGHT: Pose = dict(arm_r=95, open_r=10, elbow_r=0, hip_l=(-10, -30), hip_r=(6, 30), knee_r=(8, 40), arm_l=-70)
_HIGH: Pose = dict(arm_r=(110, 165), open_r=10, elbow_r=0, lean=(0, -14), head=-12, arm_l=(20, 120), open_l=60)

FIGURES = {
    "steps": Figure(((0.125, _STEP_R), (0.375, _STEP_L), (0.625, _STEP_R), (0.875, _STEP_L)), "snake", (0.6, 1.3)),
    "leap": Figure(
        ((0.125, _STEP_R), (0.3, _CROUCH), (0.44, _SPLIT), (0.56, _SPLIT), (0.7, _CROUCH), (0.86, {})),
        "trail", (0.7, 1.5), lift_m=(0.08, 0.55), airborne=(0.32, 0.68),
    ),
    "pirouette": Figure(((0.14, _CROUCH), (0.25, _PASSE), (0.82, _PASSE), (0.94, {})), "spiral", turns=(1, 3)),
    "balance": Figure(((0.25, _ARABESQUE), (0.8, _ARABESQUE), (0.97, {})), "trail"),
    "kicks": Figure(
        ((0.125, _CROUCH), (0.27, _KICK), (0.5, {}), (0.625, _CROUCH), (0.77, _KICK_L), (0.97, {})), "snake"
    ),
    "spirals": Figure(((0.125, _OUT_RIGHT), (0.5, {**_OUT_RIGHT, "arm_r": (100, 125)}), (0.9, _OUT_RIGHT)), "spiral"),
    "eights": Figure(((0.125, _OUT_RIGHT), (0.375, _HIGH), (0.625, _OUT_RIGHT), (0.875, _HIGH)), "eight"),
    "throw": Figure(
        ((0.125, _CROUCH), (0.25, _HIGH), (0.5, _PASSE), (0.75, _HIGH), (0.92, {})),
        "trail", turns=(1, 1), throw_m=(0.4, 1.0), airborne=(0.25, 0.75),
    ),
}  # fmt: skip

# Shares of (snake, spiral, eight) and the direction (forward, up) in which the ribbon leads away from the tip.
RIBBONS = {
    "rest": (0.35, 0.0, 0.0, -0.45, -0.75),
    "trail": (0.3, 0.0, 0.0, -0.95, -0.1),
    "snake": (1.0, 0.0, 0.0, 0.85, -0.45),
    "spiral": (0.0, 1.0, 0.0, 0.95, -0.25),
    "eight": (0.0, 0.0, 1.0, 0.3, 0.05),
}


@dataclass(frozen=True)
class Motion:
    """Where everything is."""

    joints: np.ndarray
    """Metres, `(frames, joints, xyz)`, in the order of `JOINTS`."""
    ribbon: np.ndarray
    """Metres, `(frames, points, xyz)`, from the tip of the stick to the loose end."""


Values: TypeAlias = "np.ndarray | Sequence[float]"


class _Track:
    """Values at times, eased from one to the next, with a sharp start, so that a beginning can be seen."""

    def __init__(self, seconds: float, values: Values) -> None:
        self.seconds, self.values = [seconds], [np.asarray(values, float)]

    def key(self, seconds: float, values: Values) -> None:
        self.seconds.append(max(seconds, self.seconds[-1] + 1e-3))
        self.values.append(np.asarray(values, float))

    def at(self, clock: np.ndarray) -> np.ndarray:
        """`(frames,)` seconds -> `(frames, values)`."""
        seconds, values = np.array(self.seconds), np.array(self.values)
        after = np.clip(np.searchsorted(seconds, clock, side="right"), 1, len(seconds) - 1)
        before = after - 1
        u = np.clip((clock - seconds[before]) / (seconds[after] - seconds[before]), 0, 1)
        eased = (u * u * (3 - 2 * u))[:, None]
        found: np.ndarray = values[before] + (values[after] - values[before]) * eased
        return found


def move(routine: Routine) -> Motion:
    """The motion of a routine at 25 fps."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((routine.nuisance_seed, 2))))
    clock = np.arange(round(routine.duration_seconds * FPS)) / FPS
    rough = 1 - routine.smoothness
    # Jerky motion comes in bursts: the movement of 0.24 s happens in a fraction of that time, followed by a pause.
    burst = clock / 0.24
    hurried = 0.24 * (np.floor(burst) + np.clip((burst % 1) / 0.3, 0, 1))
    jerky = clock + min(1.0, 1.3 * rough) * (hurried - clock - 0.06)
    angles, place, lift, throw, style = _tracks(routine, jerky)
    trembling = generator.uniform(-1, 1, (len(clock) // 2 + 1, len(ANGLES)))  # a new one every 0.08 s
    angles += rough**1.5 * 9 * np.repeat(trembling, 2, axis=0)[: len(clock)]
    angles, lift, limp = _fall(routine, clock, angles, lift)
    joints = _joints(angles, place[:, 0], place[:, 1], lift)
    joints[:, [JOINTS.index("grip"), JOINTS.index("tip")], 1] += (throw * (1 - limp))[:, None]
    # Three neighbouring points and three frames share a knot, so it looks like a crease, not like noise.
    knots = rough**1.5 * 0.11 * generator.uniform(-1, 1, (len(clock) // 3 + 1, NUM_RIBBON_POINTS // 3 + 1, 3))
    knots = np.repeat(np.repeat(knots, 3, axis=0)[: len(clock)], 3, axis=1)[:, :NUM_RIBBON_POINTS]
    knots[:, 1:-1] = (knots[:, :-2] + knots[:, 1:-1] + knots[:, 2:]) / 3
    ribbon = _ribbon(routine, clock, jerky, joints, place[:, 1], style, limp, knots)
    return Motion(joints, ribbon)


def _between(value: float | tuple[float, float], amplitude: float) -> float:
    low, high = value if isinstance(value, tuple) else (value, value)
    return low + (high - low) * amplitude


def _pose(changes: Pose, amplitude: float) -> np.ndarray:
    pose: Pose = {**STAND, **changes}
    return np.array([_between(pose[name], amplitude) for name in ANGLES], float)


def _tracks(routine: Routine, clock: np.ndarray) -> tuple[np.ndarray, ...]:
    """Angles, (x, yaw), lift of the body, height of a thrown stick, ribbon style; each sampled at `clock`."""
    size, beat = routine.amplitude, routine.beat_seconds
    starts = routine.starts_seconds()
    finish = beat * (CATEGORIES[routine.category].intro_beats + BEATS_PER_ELEMENT * len(starts))
    x, yaw = -0.7, 0.0
    angles, place, style = _Track(0.0, _pose({}, size)), _Track(0.0, (x, yaw)), _Track(0.0, RIBBONS["rest"])
    lift, throw = np.zeros_like(clock), np.zeros_like(clock)
    for index, (element, start) in enumerate(zip(routine.elements, starts)):
        figure = FIGURES[element.kind]
        stop = min(start + BEATS_PER_ELEMENT * beat, starts[index + 1] if index + 1 < len(starts) else finish) - 0.04
        length = stop - start
        angles.key(start, angles.values[-1])
        for fraction, changes in figure.keys:
            angles.key(start + fraction * length, _pose(changes, size))
        travel, turns = _between(figure.travel_m, size), round(_between(figure.turns, size))
        if element.falls:  # a fall ends the element's travel and turns, not its time
            travel, turns = FALL_AT * travel, 0
        facing = 1 if round(yaw / 180) % 2 == 0 else -1
        place.key(start, (x, yaw))
        if travel and abs(x + facing * travel) > REACH and x * facing > 0:
            facing, yaw = -facing, yaw + 180
            place.key(start + 0.25, (x, yaw))
        x += facing * travel
        if turns:
            place.key(start + 0.2 * length, (x, yaw))
            yaw += 360 * turns
            place.key(start + 0.85 * length, (x, yaw))
        place.key(start + FALL_AT * length if element.falls else stop, (x, yaw))
        style.key(start, style.values[-1])
        style.key(start + 0.35, RIBBONS[figure.ribbon])
        if figure.airborne[1]:
            takeoff, flight = start + figure.airborne[0] * length, (figure.airborne[1] - figure.airborne[0]) * length
            through = np.clip((clock - takeoff) / flight, 0, 1)
            arc = 4 * through * (1 - through)
            lift += _between(figure.lift_m, size) * arc
            throw += _between(figure.throw_m, size) * arc
    angles.key(finish, angles.values[-1])
    angles.key(finish + 2 * beat, _pose(FINAL, size))
    style.key(finish, style.values[-1])
    style.key(finish + beat, RIBBONS["spiral"])
    return angles.at(clock), place.at(clock), lift, throw, style.at(clock)


def _fall(routine: Routine, clock: np.ndarray, angles: np.ndarray, lift: np.ndarray) -> tuple[np.ndarray, ...]:
    """Bring the body to the floor during falls. Returns angles, lift and how far it is down (0-1)."""
    down = np.zeros_like(clock)
    for start in routine.falls_seconds():
        since = clock - start
        down = np.maximum(down, np.clip(np.minimum(since / 0.28, (FALL_SECONDS - since) / 0.32), 0, 1))
    down = down * down * (3 - 2 * down)
    share = down[:, None]
    return angles * (1 - share) + _pose(LYING, 0) * share, lift * (1 - down), down


def _joints(angles: np.ndarray, x: np.ndarray, yaw: np.ndarray, lift: np.ndarray) -> np.ndarray:
    """Forward kinematics -> `(frames, joints, xyz)`. The lowest point is on the floor, raised by `lift`."""
    a = dict(zip(ANGLES, np.radians(angles).T))
    turn = np.radians(yaw)
    forward = np.stack([np.cos(turn), 0 * turn, np.sin(turn)], axis=1)
    right = np.stack([-np.sin(turn), 0 * turn, np.cos(turn)], axis=1)
    up = np.array([0.0, 1.0, 0.0])

    def bone(swing: np.ndarray, aside: np.ndarray | float = 0.0, side: int = 1) -> np.ndarray:
        flat = np.sin(swing)[:, None] * forward - np.cos(swing)[:, None] * up
        aside = np.broadcast_to(aside, swing.shape)[:, None]
        turned: np.ndarray = np.cos(aside) * flat + side * np.sin(aside) * right
        return turned

    out = {"pelvis": np.zeros((len(x), 3))}
    out["chest"] = out["pelvis"] + TORSO * bone(np.pi - a["lean"])
    out["head"] = out["chest"] + NECK * bone(np.pi - a["lean"] - a["head"])
    for s, side in (("r", 1), ("l", -1)):
        out[f"shoulder_{s}"] = out["chest"] - 0.05 * bone(np.pi - a["lean"]) + side * SHOULDER_HALF * right
        out[f"elbow_{s}"] = out[f"shoulder_{s}"] + UPPER_ARM * bone(a[f"arm_{s}"], a[f"open_{s}"], side)
        out[f"hand_{s}"] = out[f"elbow_{s}"] + FOREARM * bone(a[f"arm_{s}"] + a[f"elbow_{s}"], a[f"open_{s}"], side)
        out[f"hip_{s}"] = out["pelvis"] + side * HIP_HALF * right
        out[f"knee_{s}"] = out[f"hip_{s}"] + THIGH * bone(a[f"hip_{s}"], a[f"out_{s}"], side)
        out[f"ankle_{s}"] = out[f"knee_{s}"] + SHIN * bone(a[f"hip_{s}"] - a[f"knee_{s}"], a[f"out_{s}"] / 2, side)
    low = np.min([joint[:, 1] for joint in out.values()], axis=0)
    root = np.stack([x, ANKLE_HEIGHT - low + lift, 0 * x], axis=1)
    for s, side in (("r", 1), ("l", -1)):
        # A foot is flat where it carries and pointed where it does not.
        raised = np.clip((out[f"ankle_{s}"][:, 1] - low + lift) / 0.2, 0, 1)
        shin = a[f"hip_{s}"] - a[f"knee_{s}"]
        foot = shin + (1 - raised) * (np.radians(78) - shin)
        out[f"toe_{s}"] = out[f"ankle_{s}"] + FOOT * bone(foot, a[f"out_{s}"], side)
    out["grip"] = out["hand_r"]
    out["tip"] = out["grip"] + STICK * bone(a["arm_r"] + a["elbow_r"] + 0.2, a["open_r"] / 2)
    return np.stack([out[name] + root for name in JOINTS], axis=1)


def _ribbon(
    routine: Routine, clock: np.ndarray, jerky: np.ndarray, joints: np.ndarray, yaw: np.ndarray, style: np.ndarray,
    limp: np.ndarray, knots: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Points of the ribbon: the tip's own path, seen later along its length, plus the figure that the hand draws."""
    size = 0.25 + 0.9 * routine.amplitude
    length_m = 0.75 + 1.35 * routine.amplitude
    along = np.linspace(0, 1, NUM_RIBBON_POINTS)[None, :]
    tip = joints[:, JOINTS.index("tip")]
    delayed = (clock[:, None] - 0.32 * along).ravel()
    path = np.stack([np.interp(delayed, clock, values) for values in tip.T], axis=1).reshape(-1, NUM_RIBBON_POINTS, 3)

    snake, spiral, eight, ahead, rise = ((1 - limp) * style.T)[:, :, None]
    ahead = ahead + 0.45 * limp[:, None]
    phase = (2 * np.pi * jerky / routine.beat_seconds)[:, None]
    opening = np.minimum(1, 5 * along)
    wave = 2 * np.pi * 3.2 * along - phase
    coil = 2 * np.pi * 4.5 * along - phase
    theta, theta_at_tip = 2 * np.pi * 1.15 * along - phase / 2, -phase / 2
    straight = 1 - 0.45 * np.maximum(spiral, eight)
    forward = ahead * along * length_m * straight
    up = (rise - 0.25 * along * (1 - spiral)) * along * length_m * straight
    up = up + snake * 0.19 * size * opening * np.sin(wave) * (0.5 + 0.5 * along)
    up = up + spiral * 0.27 * size * opening * (np.sin(coil) + 0.15)
    forward = forward + spiral * 0.2 * size * opening * np.cos(coil)
    forward = forward + eight * 0.8 * size * (np.sin(theta) - np.sin(theta_at_tip))
    up = up + eight * 0.5 * size * (np.sin(2 * theta) - np.sin(2 * theta_at_tip))
    turn = np.radians(yaw)[:, None]
    points: np.ndarray = (
        path + np.stack([np.cos(turn) * forward, up, np.sin(turn) * forward], axis=2) + knots * opening[..., None]
    )
    points[..., 1] -= limp[:, None] * 4 * along  # a dropped ribbon sinks to the carpet
    points[..., 1] = np.maximum(points[..., 1], 0.02)
    return points
