"""Tests mirror the source: every module with logic has a test file at the same place."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("longtake", "manifests", "features", "extract", "train")

WITHOUT_TESTS = {
    "extract/errors.py": "exception classes only",
    "features/errors.py": "exception classes only",
    "train/errors.py": "exceptions, and checks of settings that the tests of every settings class hold",
    "train/engine/state.py": "dataclasses without methods",
    "train/heads/base.py": "the interface of a head: tests/train/heads/test_conformance.py holds it for every head",
    "extract/backbones/hf_quiet.py": "switches the library's reports off: nothing to assert but silence",
}
OF_SEVERAL_MODULES = {
    "tests/test_benchmarks.py": "the scripts of benchmarks/",
    "tests/test_browser.py": "tests/browser.py",
    "tests/test_commands.py": "every command",
    "tests/test_directions.py": "imports of the whole tree",
    "tests/test_docs.py": "README.md and docs/",
    "tests/test_studies.py": "the experiments of benchmarks/studies/",
    "tests/test_errors.py": "common mistakes, by their messages",
    "tests/test_gpu.py": "what has a device",
    "tests/test_mirrors.py": "this file",
    "tests/test_words.py": "words of the whole tree",
    "tests/compat/test_cards.py": "cards of 0.1",
    "tests/compat/test_parts.py": "parts of earlier releases",
    "tests/compat/test_v0_1.py": "stores and runs of 0.1",
    "tests/longtake/test_api.py": "longtake/__init__.py",
    "tests/longtake/test_import_names.py": "the links in longtake/",
    "tests/extract/test_whole_way.py": "from videos to predictions",
    "tests/extract/backbones/test_every_backbone.py": "conformance of every backbone",
    "tests/extract/backbones/test_table.py": "extract/backbones/__init__.py",
    "tests/extract/decode/test_decoders.py": "conformance of every decoder",
    "tests/extract/decode/test_real_videos.py": "every decoder on real files",
    "tests/extract/executors/test_hosts.py": "several hosts that write one store",
    "tests/features/test_faults.py": "faults of the disk, in every writer",
    "tests/features/test_segments_under_faults.py": "kills, full disks and late visibility, in writers and packers of segments",
    "tests/features/test_histories.py": "random sequences of writers",
    "tests/features/formats/test_conformance.py": "conformance of every store format",
    "tests/features/formats/test_format_md.py": "features/FORMAT.md",
    "tests/features/formats/test_grown.py": "stores of every format that grow",
    "tests/features/formats/test_hostile.py": "hostile stores of every format",
    "tests/features/tools/test_published_readers.py": "exports, by readers as published code has them",
    "tests/features/formats/test_other_programs.py": "stores in other programs, and docs/format-for-others.md",
    "tests/train/protocol/test_leave_one_out.py": "leave-one-out, from the command to tables, comparisons and sweeps",
    "tests/train/view/test_places.py": "train view at URLs, and an export on a plain web server",
    "tests/train/heads/test_conformance.py": "conformance of every head",
    "tests/train/heads/test_extend.py": "a head of the user's own",
    "tests/train/heads/test_golden.py": "heads against outputs of the published code",
    "tests/train/heads/test_other_settings.py": "heads against the published code at other settings",
}


def python_files(*folders: str) -> set[str]:
    """Paths from the root, without what the links in longtake/ lead to."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.resolve().is_relative_to(ROOT / folder)
    }


MODULES = {path for path in python_files(*SOURCE) if Path(path).name != "__init__.py"}
TEST_FILES = {path for path in python_files("tests") if Path(path).name.startswith("test_")}


def mirror(module: str) -> str:
    path = Path(module)
    return ("tests" / path.with_name(f"test_{path.name}")).as_posix()


def test_every_module_has_a_test_file():
    assert len(MODULES) > 100
    missing = {mirror(module) for module in MODULES - WITHOUT_TESTS.keys()} - TEST_FILES
    assert not missing, "\n".join(sorted(missing))


def test_every_test_file_belongs_to_a_module():
    assert len(TEST_FILES) > 100
    homeless = TEST_FILES - OF_SEVERAL_MODULES.keys() - {mirror(module) for module in MODULES}
    assert not homeless, "\n".join(sorted(homeless))


@pytest.mark.parametrize(
    "exceptions, files", [(WITHOUT_TESTS, MODULES), (OF_SEVERAL_MODULES, TEST_FILES)], ids=["modules", "tests"]
)
def test_exceptions_are_needed(exceptions, files):
    assert exceptions.keys() <= files, "an exception for a file that does not exist"
    pairs = {mirror(module): module for module in MODULES & WITHOUT_TESTS.keys()}
    assert not pairs.keys() & TEST_FILES, "a module that has a test file is not an exception"
    assert not OF_SEVERAL_MODULES.keys() & {mirror(module) for module in MODULES}
