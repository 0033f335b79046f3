"""`features doctor` on a good folder, and on folders where one thing at a time is broken."""

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from longtake.features.cli import main
from longtake.features.tools import doctor
from longtake.features.tools.doctor import CHECKS, examine


def broken(findings):
    return [finding.check for finding in findings if not finding.ok]


def test_a_good_folder(tmp_path):
    if shutil.disk_usage(tmp_path).free < 11e9:
        pytest.skip("this machine's disk is nearly full, which the doctor says")
    findings = examine(tmp_path)
    assert [finding.check for finding in findings] == [check for check, _, _ in CHECKS]
    assert broken(findings) == [] and "renames onto a file that another process read" in findings[2].found
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    done = CliRunner().invoke(main, ["doctor", str(tmp_path)])
    assert done.exit_code == 0 and done.output.count("ok ") == len(CHECKS)


def test_one_thing_at_a_time(tmp_path, monkeypatch):
    replace = os.replace

    def copying(source, target):  # as a file system without atomic renames does: the target is empty for a moment
        data = open(source, "rb").read()
        with open(target, "wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            time.sleep(0.003)
            file.write(data[len(data) // 2 :])
        os.unlink(source)

    def refuses(*arguments, **options):
        raise OSError(22, "Invalid argument")

    cases = {
        "rename atomically": ("os.replace", copying),
        "create once": ("os.O_EXCL", 0),
        "clock": ("longtake.features.tools.doctor.MOST_SKEW_SECONDS", -1.0),
        "room": ("longtake.features.tools.doctor.FEW_GB", 1e9),
    }
    for check, (name, value) in cases.items():
        with monkeypatch.context() as patch:
            patch.setattr(name, value)
            findings = examine(tmp_path)
        assert check in broken(findings), check
        assert {f.check for f in findings if not f.ok} <= {check, "room"}
        assert next(f for f in findings if f.check == check).advice
    assert os.replace is replace
    with monkeypatch.context() as patch:
        patch.setattr(doctor.os, "fsync", refuses)
        assert {"write and sync", "sync a folder"} <= set(broken(examine(tmp_path)))


def test_no_folder_and_a_folder_that_cannot_be_written(tmp_path):
    done = CliRunner().invoke(main, ["doctor", str(tmp_path / "none")])
    assert done.exit_code == 2 and "is not a folder" in done.output
    done = CliRunner().invoke(main, ["doctor", "/proc", "--json"])
    assert done.exit_code == 1
    assert not any(finding["ok"] for finding in json.loads(done.output)[:3])
