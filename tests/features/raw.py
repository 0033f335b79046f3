"""Stores written and read by h5py and zarr alone, after FORMAT.md: the reference of the conformance kit.

Nothing here imports the code under test. A tree is a dict: groups are dicts, arrays are numpy arrays (text: kind `S`), and
`attributes` of a group are in its key `"@"`.
"""

import hashlib
import json
import warnings

import h5py
import numpy as np
import xxhash
import zarr


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def text(values):
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


HEADER = {
    "backbone": "net", "modality": "video", "dim": 6, "weights": "w", "weights_sha256": None, "weights_random": False,
    "clip_length": 16, "clip_stride": 8, "tail": "pad", "fps": 25.0, "preprocessing": {"short_side": 256}, "decoder": "d",
    "precision": "float32", "origin": "extracted", "format_version": 1,
}  # fmt: skip
TEXT_HEADER = {
    "encoder": "clip", "dim": 4, "weights": "w", "weights_sha256": None, "weights_random": False, "origin": "encoded",
    "library": None,
}  # fmt: skip
IDS = ("Ball_001", "日本 ä", "gone", "d")
COUNTS = (3, 200, 0, 1)


def example(dtype="float32", version=2):
    """A store with all that a store can have: a failed video, one of many clips, missing scores, text beyond ASCII. `write` adds the
    checksums of version 2, and `read` compares and removes them."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(sum(COUNTS), 6)).astype(dtype)
    offsets = np.cumsum([0, *COUNTS]).astype("<i8")
    sums = [hashlib.sha256(features[a:b].tobytes()).hexdigest() for a, b in zip(offsets, offsets[1:])]
    starts = np.concatenate([np.arange(count) * 8 / 25 for count in COUNTS])
    recipe = hashlib.sha256(canonical(HEADER).encode()).hexdigest()[:16]
    text_recipe = hashlib.sha256(canonical(TEXT_HEADER).encode()).hexdigest()[:16]
    nothing = ("", "", "", "")
    return {
        "@": {"format": "longtake-features", "format_version": version, "dataset": "raw", "created_utc": "2026-01-01T00:00:00",
              "chunk_rows": 32, "compression": "default"},
        "card": text(["null"]),
        "labels": {
            "@": {"score_names": json.dumps(["total", "ärger"])},
            "video_id": text(IDS),
            "split": text(["train", "test", "", "train"]),
            "category": text(["Ball", "", "", "Ball"]),
            "scores": np.array([[1.5, np.nan], [2, 3], [np.nan, np.nan], [0, -1]], "<f8"),
        },
        "streams": {
            f"net@{recipe}": {
                "@": {"header": canonical(HEADER)},
                "features": features,
                "offsets": offsets,
                "start_seconds": starts,
                "end_seconds": starts + 16 / 25,
                "videos": {
                    "@": {"has_decoder": 1, "has_damaged_frames": 1, "has_pixel_aspect": 1, "has_transfer": 1},
                    "decoder": text(["pyav", "nvdec", "", "pyav"]),
                    "damaged_frames": np.array([0.0, 3, np.nan, np.nan]),
                    "pixel_aspect": np.array([1.0, 64 / 45, np.nan, np.nan]),
                    "transfer": text(["SDR", "PQ", "", ""]),
                    "video_id": text(IDS),
                    "status": text(["ok", "ok", "failed", "ok"]),
                    "error_stage": text(["", "", "decode", ""]),
                    "error_type": text(["", "", "VideoTruncated", ""]),
                    "error_message": text(["", "", "cut off — übel", ""]),
                    "source_name": text(["a.mp4", "b.mp4", "c.mp4", "d.mp4"]),
                    "source_sha256": text(nothing),
                    "finished_utc": text(nothing),
                    "features_sha256": text(sums),
                    "duration_seconds": np.array([1.0, 65, np.nan, 0.64]),
                    "fps": np.array([25.0, 25, np.nan, 25]),
                    "span_start_seconds": np.full(4, np.nan),
                    "span_end_seconds": np.full(4, np.nan),
                },
            }
        },
        "text": {
            f"qgvl@{text_recipe}": {
                "@": {"header": canonical(TEXT_HEADER)},
                "features": rng.normal(size=(2, 4)).astype("<f4"),
                "text": text(["poor", "prächtig"]),
                "group": text(["grades", "grades"]),
            }
        },
    }  # fmt: skip


def with_groups(tree):
    """The tree with groups of its videos, which not every store has."""
    tree["labels"]["@"]["group_names"] = json.dumps(["skater", "event"])
    tree["labels"]["group_skater"] = text(["s1", "", "Käthe", "s1"])
    tree["labels"]["group_event"] = text(["", "e2", "e2", "e1"])
    return tree


def with_stages(tree):
    """The same store with boundaries of stages: one video has both, one the first, two none."""
    tree["labels"]["@"]["num_boundaries"] = 2
    tree["labels"]["boundary_seconds"] = np.array([[0.5, 0.75], [3, np.nan], [np.nan, np.nan], [np.nan, np.nan]], "<f8")
    return tree


def sum_of(values):
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(values).tobytes())


def parts_of(tree, path=""):
    """Every array and every set of attributes of a tree, by its path as checksums name it."""
    for name, value in tree.items():
        inside = f"{path}/{name}".lstrip("/")
        if name == "@":
            plain = {key: one for key, one in value.items() if path or key != "checksum"}
            yield f"{path}@", np.frombuffer(canonical(plain).encode(), np.uint8)
        elif isinstance(value, dict):
            yield from parts_of(value, inside)
        else:
            yield inside, value


def sums_of(tree, rows_of):
    """The index and the sums of a tree; `rows_of` is the rows per block by path."""
    index, sums = {}, []
    for path, values in parts_of(tree):
        rows = rows_of.get(path, 7)
        blocks = [values] if path.endswith("@") else [values[i : i + rows] for i in range(0, len(values), rows)]
        index[path] = [0 if path.endswith("@") else rows, len(blocks)]
        sums += map(sum_of, blocks)
    return index, np.array(sums, "<u8")


def sealed(tree):
    if tree["@"].get("format_version") != 2:
        return tree
    index, sums = sums_of(tree, {})
    index = text([json.dumps(index)])
    total = xxhash.xxh3_64_hexdigest(index.tobytes() + sums.tobytes())
    return {**tree, "@": {**tree["@"], "checksum": total}, "checksums": {"index": index, "xxh3_64": sums}}


def unsealed(tree):
    """The tree without its checksums, which are correct and cover all of it."""
    if "checksums" not in tree:
        return tree
    rest = {name: value for name, value in tree.items() if name != "checksums"}
    rest["@"] = dict(rest["@"])
    total, stored = rest["@"].pop("checksum"), tree["checksums"]
    assert total == xxhash.xxh3_64_hexdigest(stored["index"].tobytes() + stored["xxh3_64"].tobytes())
    index = json.loads(stored["index"][0])
    first, by_path = 0, {}
    for path, (rows, count) in index.items():
        by_path[path] = rows, stored["xxh3_64"][first : first + count].tolist()
        first += count
    own, sums = sums_of(rest, {path: rows for path, (rows, _) in index.items()})
    first = 0
    assert set(own) == set(index)
    for path, (_, count) in own.items():
        assert by_path[path][1] == sums[first : first + count].tolist(), path
        first += count
    return rest


def as_version_1(path):
    """Take the checksums out of an HDF5 store, so that a test can change it and meet the checks behind them."""
    with h5py.File(path, "r+") as file:
        del file["checksums"], file.attrs["checksum"]
        file.attrs["format_version"] = 1
    return path


def write(path, tree, seal=True):
    tree = sealed(tree) if seal else tree
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root = zarr.create_group(path, attributes={"format": tree["@"]["format"], "current": "any name"})
            _write_zarr(root.create_group("any name"), tree)
            zarr.consolidate_metadata(path)
        return
    with h5py.File(path, "w") as file:
        _write_hdf5(file, tree)


def _write_hdf5(group, tree):
    for name, value in tree.items():
        if name == "@":
            group.attrs.update(value)
        elif isinstance(value, dict):
            _write_hdf5(group.create_group(name), value)
        else:
            group[name] = (
                value.astype(h5py.string_dtype("utf-8", value.dtype.itemsize)) if value.dtype.kind == "S" else value
            )


def _write_zarr(group, tree):
    for name, value in tree.items():
        if name == "@":
            group.attrs.update(value)
        elif isinstance(value, dict):
            _write_zarr(group.create_group(name), value)
        elif value.dtype.kind == "S":
            group.create_array(name, data=value.view(np.uint8).reshape(len(value), -1))
        else:
            group.create_array(name, data=value, fill_value=np.nan if value.dtype.kind == "f" else 0)


def read(path):
    if path.suffix == ".zarr":
        root = zarr.open_group(path, mode="r")
        return unsealed(_read_zarr(root[root.attrs["current"]]))
    with h5py.File(path, "r") as file:
        return unsealed(_read_hdf5(file))


def _read_hdf5(group):
    attributes = {name: value.item() if hasattr(value, "item") else value for name, value in group.attrs.items()}
    tree = {"@": attributes} if attributes else {}
    for name, child in group.items():
        if not is_axis(child):
            tree[name] = _read_hdf5(child) if isinstance(child, h5py.Group) else child[()]
    return tree


def is_axis(item):
    """The name of an axis, which has no values."""
    return isinstance(item, h5py.Dataset) and h5py.h5ds.is_scale(item.id)


def _read_zarr(group):
    tree = {"@": dict(group.attrs)} if group.attrs else {}
    for name, child in group.groups():
        tree[name] = _read_zarr(child)
    for name, child in group.arrays():
        values = child[...]
        tree[name] = values.view(f"S{values.shape[1]}")[:, 0] if values.dtype == np.uint8 else values
    return tree


def same(ours, theirs, where=""):
    """Every difference of two trees, but for the date and for text padded to another length."""
    found = [f"{where}: {name} is only in one" for name in set(ours) ^ set(theirs)]
    for name in set(ours) & set(theirs):
        one, other = ours[name], theirs[name]
        here = f"{where}/{name}"
        if name == "@":
            found += [f"{here}{key}" for key in one if key != "created_utc" and one[key] != other.get(key)]
            found += [f"{here}{key}" for key in set(other) - set(one)]
        elif isinstance(one, dict):
            found += same(one, other, here)
        elif one.dtype.kind != other.dtype.kind or (one.dtype.kind != "S" and one.dtype != other.dtype):
            found.append(f"{here}: {one.dtype} against {other.dtype}")
        elif one.shape != other.shape or not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            found.append(f"{here}: values")
    return found
