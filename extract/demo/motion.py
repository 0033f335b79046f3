"""How the demo's gymnast and her ribbon move: key poses -> angles -> joints and ribbon points, for all frames at once.

Metres and seconds. The room: x to the right, y up from the floor, z towards the camera. The body: swing angles turn in
the plane she faces, 0 hangs down, 90 points forward, 180 up; `open` and `out` angles lead an arm or leg sideways.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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

Value: TypeAlias = "float | Sequence[float]"
"""A number, or a pair `(low, high)`: the values at amplitude 0 and at amplitude 1."""


@dataclass(frozen=True)
class Figure:
    """One kind of element."""

    keys: Sequence[tuple[float, str]]
    """`(fraction of the element, name of the pose)`."""
    ribbon: str
    travel_m: Value = 0.0
    turns: Value = 0
    lift_m: Value = 0.0
    airborne: Sequence[float] = (0.0, 0.0)
    """Fractions between which she (or, in a throw, the stick) flies."""
    throw_m: Value = 0.0


_CHOREOGRAPHY = tomllib.loads(Path(__file__).with_name("choreography.toml").read_text(encoding="utf-8"))
POSES: dict[str, dict[str, Value]] = _CHOREOGRAPHY["poses"]
RIBBONS: dict[str, Sequence[float]] = _CHOREOGRAPHY["ribbons"]
FIGURES = {kind: Figure(**values) for kind, values in _CHOREOGRAPHY["figures"].items()}


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


def _between(value: Value, amplitude: float) -> float:
    low, high = (value, value) if isinstance(value, int | float) else value
    return low + (high - low) * amplitude


def _pose(name: str, amplitude: float) -> np.ndarray:
    pose = POSES["stand"] | POSES[name]
    return np.array([_between(pose[angle], amplitude) for angle in ANGLES], float)


def _tracks(routine: Routine, clock: np.ndarray) -> tuple[np.ndarray, ...]:
    """Angles, (x, yaw), lift of the body, height of a thrown stick, ribbon style; each sampled at `clock`."""
    size, beat = routine.amplitude, routine.beat_seconds
    starts = routine.starts_seconds()
    finish = beat * (CATEGORIES[routine.category].intro_beats + BEATS_PER_ELEMENT * len(starts))
    x, yaw = -0.7, 0.0
    angles, place, style = _Track(0.0, _pose("stand", size)), _Track(0.0, (x, yaw)), _Track(0.0, RIBBONS["rest"])
    lift, throw = np.zeros_like(clock), np.zeros_like(clock)
    for index, (element, start) in enumerate(zip(routine.elements, starts)):
        figure = FIGURES[element.kind]
        stop = min(start + BEATS_PER_ELEMENT * beat, starts[index + 1] if index + 1 < len(starts) else finish) - 0.04
        length = stop - start
        angles.key(start, angles.values[-1])
        for fraction, name in figure.keys:
            angles.key(start + fraction * length, _pose(name, size))
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
    angles.key(finish + 2 * beat, _pose("final", size))
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
    return angles * (1 - share) + _pose("lying", 0) * share, lift * (1 - down), down


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
