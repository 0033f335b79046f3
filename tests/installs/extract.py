"""Run in an environment with the extract extra, installed from the wheel: a rendered video becomes features."""

import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (
            ("extract", "demo", f"{folder}/demo", "--num-videos", "8"),
            ("extract", "run", "--manifest", f"{folder}/demo/demo.csv", "--videos", f"{folder}/demo/videos",
             "--weights", "random", "--clip-length", "16", "--fps", "2", "--limit", "1", "--out", f"{folder}/demo.h5"),
            ("extract", "text", "--dataset", "demo", "--weights", "random", "--out", f"{folder}/demo.h5"),
            ("features", "verify", f"{folder}/demo.h5"),
        ):  # fmt: skip
            done = subprocess.run(arguments, capture_output=True, text=True)
            assert done.returncode == 0, f"{arguments} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert Path(f"{folder}/demo.h5").is_file()
    print("extract: a video became features")


if __name__ == "__main__":
    sys.exit(main())
