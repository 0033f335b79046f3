"""Files of repositories at huggingface.co: a revision becomes a commit before anything is read, and every file is hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from longtake.errors import printable
from longtake.extract.backbones.download import Progress, fetch
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.backbones.weights import Weights
from longtake.extract.errors import WeightsError
from longtake.files import file_sha256
from longtake.manifests.pretrained import WeightsEntry

CONFIGURATION = ("config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
INDEX = "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
WEIGHT_FILES = ("model.safetensors", INDEX, "pytorch_model.bin")
"""In the order of preference. Files of torch are read with `weights_only`."""


def snapshot(source: str, repo: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """A folder with the files of a repository that match, at one commit, which is the folder's name. Downloads what the cache lacks.

    `WeightsError` if the repository, the revision or the network is not there.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = os.environ.get("LONGTAKE_OFFLINE", "") not in ("", "0")
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns), local_files_only=offline))
    except LocalEntryNotFoundError as error:
        reason = "LONGTAKE_OFFLINE forbids to download them" if offline else "the hub cannot be reached"
        raise WeightsError(
            f"the files of {source} are not on this machine, and {reason}. Use hf/FOLDER with files of your own"
        ) from error
    except (HfHubHTTPError, ValueError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        refusals = {401: "it does not exist, or asks you to log in", 403: "it asks you to accept its licence first"}
        reason = refusals.get(status or 0) or printable((str(error).splitlines() or [type(error).__name__])[0])
        at = f" at revision {revision}" if revision else ""
        raise WeightsError(f"{source}: the repository {repo}{at} cannot be used: {reason}") from error


def weights(source: str, repo: str, revision: str | None, names: Sequence[str] = WEIGHT_FILES) -> Weights:
    """The weights of a repository, of the first of `names` that it has. Their name states the commit."""
    for name in names:
        patterns = [INDEX, SHARDS] if name == INDEX else [name]
        folder = snapshot(source, repo, revision, patterns)
        revision = folder.name  # one commit for all requests
        if (folder / name).is_file():
            return weights_in(folder, f"{source.partition('@')[0]}@{folder.name}", [name])
    raise WeightsError(f"{source}: the repository has none of {', '.join(names)}. Give a file with --weights PATH")


def weights_in(folder: Path, name: str, names: Sequence[str] = WEIGHT_FILES) -> Weights:
    """The weights in a folder: one file, or the shards of an index, whose hash is taken over the hashes of all."""
    for file_name in names:
        path = folder / file_name
        if path.is_file() and file_name != INDEX:
            return Weights(name, path, file_sha256(path))
        if path.is_file():
            digest = hashlib.sha256()
            for shard in [path, *sorted(folder.glob(SHARDS))]:
                digest.update(f"{file_sha256(shard)}  {shard.name}\n".encode())
            return Weights(name, path, digest.hexdigest())
    raise WeightsError(f"{folder} has no weights: none of {', '.join(names)} is there")


def from_url(spec: BackboneSpec, url: str, on_progress: Progress | None, licence: str = "see the library") -> Weights:
    """Weights at an address that a library states. The last part of many file names is the start of their hash."""
    stem = Path(url).stem
    prefix = stem.rpartition("-")[2]
    is_hash = len(prefix) == 8 and all(letter in "0123456789abcdef" for letter in prefix)
    name = f"{spec.name}-{stem}".replace(":", "-")
    entry = WeightsEntry(
        name, spec.name, url, licence, spec.citation, f"of {spec.source}", sha256_prefix=prefix if is_hash else ""
    )
    path = fetch(entry, on_progress)
    return Weights(f"{spec.source}@{stem}", path, file_sha256(path))
