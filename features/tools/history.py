"""The history of a store: its versions on a remote, or those that were pulled."""

from __future__ import annotations

from longtake.features.errors import FeaturesError, NotInStore
from longtake.features.remotes.history import find_version, versions
from longtake.features.remotes.library import configured_remote, held, is_offline
from longtake.features.remotes.place import open_place
from longtake.features.remotes.push import content_of, name_for
from longtake.features.remotes.versions import Version
from longtake.features.store import open_store
from longtake.features.store_name import StoreName, parse_store_name
from longtake.files import is_url


def history(store: str, remote: str | None) -> list[tuple[Version, bool]]:
    """Versions, the oldest first, and whether each has the content of the store at the path `store`. Raises `NotInStore` where there are none."""
    wanted = None if is_url(store) else parse_store_name(store)
    content_id = ""
    if wanted is None:
        with open_store(store) as opened:
            wanted, content_id = StoreName(name_for(opened, None)), content_of(opened)
    where = remote or configured_remote()
    if where and (remote or not is_offline()):
        place = open_place(where)
        found = versions(place, wanted.name)
        if not found:
            find_version(place, StoreName(wanted.name))
    else:
        found = [one.version for one in held(wanted.name)]
        if not found:
            raise NotInStore(f"no version of {wanted.name} was pulled; name the remote with --from REMOTE")
    if wanted.version is not None:
        found = [version for version in found if wanted.version in (version.label, str(version.number))]
        if not found:
            raise FeaturesError(f"there is no version {wanted}; features log {wanted.name} shows all")
    return [(version, version.content_id == content_id) for version in found]
