"""Write a store as .npy files, in the layouts that published code reads."""

from __future__ import annotations

import os
import pickle
import pickletools
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.features.errors import FeaturesError
from longtake.features.store import Store
from longtake.features.stream import Stream
from longtake.features.tools.export_labels import file_name, write_labels
from longtake.features.types import OK
from longtake.files import clear_dead, temporary_path

LAYOUTS = {
    "gdlt": "<video_id>.npy, each (clips, dim), float32",
    "pamfn": "<category>_<rgb, flow or audio>_<BACKBONE>.npy, each a dictionary {video_id: (clips, dim)}; several --backbone",
    "skating-mixer": "<video_id>.npy, each (clips, 1, dim), sound (clips, dim), float32",
    "finefs": "<number>.pkl, each a torch tensor (clips, dim), and labels/<number>.json",
    "logo": "<competition>_<number>.npy, each (clips, dim), and anno_dict.pkl with train_split3.pkl and test_split3.pkl",
}


@dataclass(frozen=True)
class Exported:
    num_videos: int
    num_files: int
    label_files: tuple[str, ...]


def export(store: Store, streams: Sequence[Stream], folder: Path, layout: str) -> Exported:
    """Write all videos that did not fail, with their labels, into a new or empty folder. Raises `FeaturesError`.

    Labels are written as a manifest, `labels.csv`, and, if the card of the dataset describes them, as the authors' files, one per split.
    Several streams go into one folder in the layout `pamfn` only, whose file names tell them apart.
    """
    if len(streams) != 1 and layout != "pamfn":
        raise FeaturesError(
            f"layout {layout} takes the features of one backbone, got {len(streams)}; export them one by one"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FeaturesError(f"{folder} exists and is not an empty folder; choose another")
    # Checked before the first file is written.
    for split in store.card.splits if store.card and store.card.labels.columns else ():
        file_name(split)
    # Written under another name and renamed, so an export that was interrupted can be repeated.
    target = Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_dead(target.parent, target.name)
    temporary = temporary_path(target)
    temporary.mkdir()
    try:
        exported: set[str] = set()
        num_files = 0
        for stream in streams:
            names, files = _WRITERS[layout](store, stream, temporary)
            exported |= names
            num_files += files
        labels = write_labels(temporary, store, exported, layout)
        done = Exported(len(exported), num_files, labels)
        os.replace(temporary, target)
        return done
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _arrays(stream: Stream) -> Iterator[tuple[str, np.ndarray]]:
    for record, (features, _, _) in stream.each():
        if record.status == OK:
            yield record.video_id, features.astype(np.float32)


def _one_each(store: Store, stream: Stream, folder: Path) -> tuple[set[str], int]:
    exported = set()
    for video_id, features in _arrays(stream):
        np.save(folder / f"{video_id}.npy", features)
        exported.add(video_id)
    return exported, len(exported)


def _skating_mixer(store: Store, stream: Stream, folder: Path) -> tuple[set[str], int]:
    """The published reader averages the second axis of pictures, and takes sound as it is."""
    exported = set()
    for video_id, features in _arrays(stream):
        np.save(folder / f"{video_id}.npy", features if stream.header.modality == "audio" else features[:, None])
        exported.add(video_id)
    return exported, len(exported)


def _tensors(store: Store, stream: Stream, folder: Path) -> tuple[set[str], int]:
    exported = set()
    for video_id, features in _arrays(stream):
        _save_tensor(folder / f"{video_id}.pkl", features)
        exported.add(video_id)
    return exported, len(exported)


def _save_tensor(path: Path, array: np.ndarray) -> None:
    """As `torch.save` of a tensor of float32, for which stores need no torch: a zip of a pickle that describes the tensor, and its numbers."""

    def text(word: str) -> bytes:
        return pickle.BINUNICODE + struct.pack("<I", len(word)) + word.encode()

    def numbers(*values: int) -> bytes:
        return b"".join(pickle.BININT + struct.pack("<i", value) for value in values)

    rows, dim = array.shape
    storage = text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + numbers(array.size)
    described = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
        + (storage + b"tQ")
        + numbers(0)
        + (b"(" + numbers(rows, dim) + b"t(" + numbers(dim, 1) + b"t")
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", described)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", np.ascontiguousarray(array, "<f4").tobytes())
        archive.writestr("archive/version", "3\n")


def _dictionaries(store: Store, stream: Stream, folder: Path) -> tuple[set[str], int]:
    """A file for each category; a dataset without categories has one, named as the published ones: FISV."""
    category_of = dict(zip(store.labels.video_ids, store.labels.categories))
    groups: dict[str, dict[str, np.ndarray]] = {}
    for video_id, features in _arrays(stream):
        groups.setdefault(category_of.get(video_id) or store.dataset.upper(), {})[video_id] = features
    header = stream.header
    kind = "audio" if header.modality == "audio" else "flow" if header.backbone.endswith("-flow") else "rgb"
    backbone = header.backbone.removesuffix("-flow").removesuffix("-rgb").replace(":", "-").upper()
    paths = {category: folder / f"{file_name(f'{category}_{kind}_{backbone}')}.npy" for category in groups}
    for category, videos in groups.items():
        if paths[category].exists():
            raise FeaturesError(
                f"two of the streams would become the file {paths[category].name}; export them into two folders"
            )
        _save_dictionary(paths[category], videos)
    return {video_id for videos in groups.values() for video_id in videos}, len(groups)


def _save_dictionary(path: Path, videos: Mapping[str, np.ndarray]) -> None:
    """As `np.save` of a dictionary, so that numpy 1.20 reads it too: it does not know the name `numpy._core` of numpy 2.

    This layout is a pickled dictionary. Writing one is harmless; `safe_pickle` reads it without executing code.
    """
    content = np.empty((), object)
    content[()] = dict(videos)
    pickled = pickle.dumps(content, protocol=3)  # numpy 1.20's own, which writes names of modules as lines
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(content))
        begin = 0
        for code, name, place in pickletools.genops(pickled):
            if place is not None and code.name == "GLOBAL" and str(name).startswith("numpy._core."):
                file.write(pickled[begin:place])
                module, function = str(name).split(" ")
                file.write(f"c{module.replace('numpy._core.', 'numpy.core.', 1)}\n{function}\n".encode())
                begin = place + len(f"c{module}\n{function}\n")
        file.write(pickled[begin:])


_WRITERS: dict[str, Callable[[Store, Stream, Path], tuple[set[str], int]]] = {
    "gdlt": _one_each,
    "pamfn": _dictionaries,
    "skating-mixer": _skating_mixer,
    "finefs": _tensors,
    "logo": _one_each,
}
