import pytest

from longtake.extract.find_videos import videos_in
from longtake.train.errors import DataError
from longtake.train.runs import predict_files
from longtake.train.runs.predict_files import find_files


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.setattr(predict_files, "from_extract", lambda *_: videos_in)
    for name in ("b.mp4", "a.mp4", "a.txt", ".hidden.mp4", "c.avi"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_files_folders_and_patterns(videos):
    a, b, c = (videos / name for name in ("a.mp4", "b.mp4", "c.avi"))
    assert find_files([videos]) == [a, b, c]
    assert find_files([videos / "*.mp4"]) == [a, b]
    assert find_files([c, videos / "*.mp4", a]) == [c, a, b], "each once"


@pytest.mark.parametrize(
    "name, said", [("no.mp4", "no video at"), ("*.mkv", "no file matches"), ("empty", "has no video in it")]
)
def test_names_that_lead_to_none(videos, name, said):
    with pytest.raises(DataError, match=said):
        find_files([videos / "a.mp4", videos / name])
