"""A file that survives a full disk."""

import pytest

from longtake.features.formats.disk import DiskFile


def test_the_first_failure_is_kept_and_later_reads_are_zeros(tmp_path):
    file = DiskFile(tmp_path / "f")
    assert file.write(b"abcd") == 4
    file.check()
    inner = file._file

    class Full:
        name = inner.name

        def write(self, data):
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(inner, name)

    file._file = Full()
    assert file.write(b"efgh") == 4, "HDF5 must not see the failure"
    with pytest.raises(OSError, match="No space left") as caught:
        file.check()
    assert caught.value.filename == inner.name
    file.seek(2)
    buffer = bytearray(4)
    assert file.readinto(buffer) == 4 and bytes(buffer) == b"cd\0\0"
    assert file.truncate(9) == 9 and file.tell() == 4
    file.close()
    assert (tmp_path / "f").read_bytes() == b"abcd"
