"""Settings of later releases in the ids of runs."""

from dataclasses import dataclass

from longtake.train.heads.settings import WithLater, later


@dataclass(frozen=True)
class Released:
    width: int = 4
    name: str = "a"


@dataclass(frozen=True, repr=False)
class Grown(WithLater):
    width: int = 4
    added: bool = later(False)
    name: str = "a"


def test_a_later_setting_shows_only_where_it_is_not_its_default():
    assert repr(Grown()).replace("Grown", "Released") == repr(Released())
    assert repr(Grown(added=True)) == "Grown(width=4, added=True, name='a')"
