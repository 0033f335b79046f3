"""Kills, full disks and two writers: the store must be that of an undisturbed run."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from fault_world import KINDS, Tally, World, flip
from forked import Forked, call

from longtake.features.found_parts import count_parts
from longtake.features.segments.reader import list_segments


def runs_killed(world: World, tally: Tally) -> None:
    """Four kills at any moment of a run, then a run to the end."""
    with world.room() as room:
        store = room / f"s{world.rng.choice(KINDS)}"
        for _ in range(4):
            tally.tried += Forked(world.said, *world.extract(store)).kill(world.rng.uniform(0, world.extract_seconds))
            world.whole_until_now(tally, store)
        tally.plain(call(world.said, *world.extract(store)), 0)
        tally.expect(world.equal(store), "the store is not that of an undisturbed run")


def publishing_killed(world: World, tally: Tally) -> None:
    """A kill after the last part was written."""
    with world.room() as room:
        store = room / f"s{world.rng.choice(KINDS)}"
        run = Forked(world.said, *world.extract(store))
        parts, until = room / f"{store.name}.parts", time.monotonic() + 60
        while run.process.is_alive() and count_parts(parts) < 12 and time.monotonic() < until:
            time.sleep(0.001)
        tally.tried += run.kill(world.rng.uniform(0, 0.06))
        world.whole_until_now(tally, store)
        tally.plain(call(world.said, *world.extract(store)), 0)
        tally.expect(world.equal(store), "the store is not that of an undisturbed run")


def decoders_killed(world: World, tally: Tally) -> None:
    """A decoder's process is killed: its video is a failure, which --retry-failed repeats."""
    with world.room() as room:
        run = Forked(world.said, *world.extract(room / "s.h5", "--workers", 2))
        run.process.join(world.rng.uniform(0.2, 1.0) * world.extract_seconds)
        for child in run.children()[:1]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                tally.tried += 1
        tally.plain(run.end(), 0, 1)
        tally.plain(call(world.said, *world.extract(room / "s.h5", "--retry-failed")), 0)
        tally.expect(world.equal(room / "s.h5"), "the store is not that of an undisturbed run")


def tools_killed(world: World, tally: Tally) -> None:
    """`features merge`, `convert` and `import` are killed, and repeated where they left nothing."""
    kind, other = world.rng.choice(KINDS), world.folder / "imported.h5"
    with world.room() as room:
        store = room / f"s{kind}"
        call_of = {
            "merge": ["features", "merge", other, "--out", store], "convert": ["features", "convert", other, store],
            "import": world.imported(store),
        }  # fmt: skip
        name = world.rng.choice(sorted(call_of))
        tally.tried += Forked(world.said, *call_of[name]).kill(world.rng.uniform(0, 0.25))
        world.whole_until_now(tally, store)
        is_there = store.is_file() or (store / "zarr.json").exists()
        if not is_there or name == "import":
            # An import that is in the store is refused; what it has left is removed all the same.
            tally.plain(call(world.said, *call_of[name]), 2 if is_there else 0)
        tally.expect(world.equal(store, other), f"{name} to {kind}: the store is not that of an undisturbed command")


def full_disks(world: World, tally: Tally) -> None:
    """Files may not grow beyond a random size; then the same command with room. A store that is there stays."""
    with world.room() as room:
        store = room / f"s{world.rng.choice(KINDS)}"
        command = world.rng.choice((world.extract(store), world.imported(store)))
        reference = world.whole if "run" in command else world.folder / "imported.h5"
        tally.tried += 1
        result = call(world.said, *command, most_bytes=int(2 ** world.rng.uniform(5, 18)))
        tally.plain(result, 0, 1, 2)
        tally.outcomes["ended with a message" if result[0] else "fitted"] += 1
        world.whole_until_now(tally, store)
        tally.plain(call(world.said, *command), 0)
        tally.expect(world.equal(store, reference), "the store is not that of a run with room")


def two_at_once(world: World, tally: Tally) -> None:
    """Two runs over the two halves of a dataset, or over all of it, publish into one store."""
    with world.room() as room:
        store, halves = room / f"s{world.rng.choice(KINDS)}", world.rng.random() < 0.5
        runs = [
            Forked(room / f"said{n}", *world.extract(store, *(["--shard", f"{n + 1}/2"] if halves else [])))
            for n in (0, 1)
        ]
        tally.tried += 1
        for run in runs:
            tally.plain(run.end(), 0)
        tally.expect(world.equal(store), "the store is not that of one run")


def torn_parts(world: World, tally: Tally) -> None:
    """A segment is cut or changed after a kill: its whole videos are used, what is damaged is named, and the run ends as if undisturbed."""
    with world.room() as room:
        store, parts = room / "s.h5", room / "s.h5.parts"
        run = Forked(world.said, *world.extract(store))
        while run.process.is_alive() and count_parts(parts) < 3:
            time.sleep(0.001)
        run.kill(0)
        if found := list_segments(parts):
            part = world.rng.choice(found)
            content = part.read_bytes()
            part.write_bytes(
                content[: world.rng.randrange(len(content))] if world.rng.random() < 0.5 else flip(world.rng, content)
            )
            tally.tried += 1
            result = call(world.said, *world.extract(store))
            tally.plain(result, 0, 1, 2)
            if result[0]:
                tally.outcomes["extracted again by a second run"] += 1
                tally.plain(call(world.said, *world.extract(store)), 0)
            for kept in parts.glob("*.damaged"):
                tally.outcomes["damaged and kept"] += 1
                tally.expect(kept.name in result[1], f"{kept.name} is not named: {result[1][-1000:]}")
                kept.unlink()
                parts.rmdir()
            tally.expect(world.equal(store), "the store is not that of an undisturbed run")


KILLS = {runs_killed: ("runs of `extract` killed at any moment", "kills"), publishing_killed: ("runs killed while they publish", "kills"),
         decoders_killed: ("decoders killed in a run", "kills"), tools_killed: ("`merge`, `convert`, `import` killed", "kills"),
         full_disks: ("disks that are full at a random size", "commands"), two_at_once: ("two runs into one store", "pairs"),
         torn_parts: ("segments cut or changed", "segments")}  # fmt: skip
