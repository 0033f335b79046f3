"""Tables for papers."""

import shutil
import subprocess

import pytest

from longtake.train.heads import TABLE
from longtake.train.runs.compare import Line, published_lines
from longtake.train.runs.latex import Entry, Paper, Value, escaped, latex_lines, latex_table, method_name
from longtake.train.uncertainty import Interval

BALL, HOOP, AVERAGE = ("Ball", "total"), ("Hoop", "total"), ("average", "")


def run_line(name="gslm", rho=0.8, mse=2.0, source="last epoch", num_videos=50, **more):
    both = dict.fromkeys((BALL, HOOP, AVERAGE), rho), dict.fromkeys((BALL, HOOP, AVERAGE), mse)
    return Line(
        f"{name} (folder_1)", "vst", source, *both, num_videos=dict.fromkeys(both[0], num_videos), head=name, **more
    )


def test_a_column_for_each_metric_and_the_best_in_bold():
    lines = latex_lines([run_line(), run_line("gdlt", 0.7, 1.5)], "rg").splitlines()
    assert r"\begin{tabular}{llrrrrrr}" in lines
    assert r" &  & \multicolumn{2}{c}{Ball} & \multicolumn{2}{c}{Hoop} & \multicolumn{2}{c}{average} \\" in lines
    assert r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}\cmidrule(lr){7-8}" in lines
    assert lines[9].startswith(r"Method & Features & $\rho$ $\uparrow$ & MSE $\downarrow$ & $\rho$")
    assert r"GSLM & vst & \textbf{0.800} & 2.00 & " in lines[11] and r"GDLT & vst & 0.700 & \textbf{1.50}" in lines[12]
    assert "folder" not in "\n".join(lines)


def test_papers_are_a_block_of_their_own_with_a_best_of_its_own():
    text = latex_lines([*published_lines("rg"), run_line()], "rg", metrics=["spearman"])
    theirs, ours = text.split(r"\midrule")[1:]
    assert theirs.count(r"\textbf") >= 3 and "MLAVL, Table" in theirs and r"\textbf" not in ours and "GSLM" in ours
    assert "best on the test videos" in text and "MSE" not in text


def test_intervals_deviations_and_marks():
    line = run_line(
        source="last epoch, RANDOM weights",
        num_videos=12,
        deviation={BALL: 0.012},
        spearman_interval={BALL: Interval(0.5, 0.9)},
    )
    text = latex_lines([line], "a_b")
    assert r"GSLM$^{*}$ & vst & 0.800\tiny{ $\pm$ 0.012}$^{\dagger}$ & 2.00 &" in text
    assert r"{} &  & \tiny{[0.50, 0.90]} &" in text and "fewer than 30 test videos" in text and "RANDOM weights" in text
    assert r"on a\_b, after the last epoch" in text and "tab:a-b" in text
    assert "tiny{[" not in latex_lines([line], "a_b", with_intervals=False)


def test_names_as_papers_write_them():
    names = {
        "core": "CoRe",
        "m-bert": "M-BERT",
        "gdlt": "GDLT",
        "skating-mixer": "Skating-Mixer",
        "i3d-mlp": "I3D-MLP",
        "mine": "mine",
    }
    assert {name: method_name(name) for name in names} == names
    assert all(method_name(name).lower() == name for name in TABLE)


HOSTILE = "\\input{/etc/passwd} $x_1^2$ 100% & #1 ~ {<b>} [é]"


def test_names_are_text():
    assert escaped("a_b & 5% \\input{x}") == r"a\_b \& 5\% \textbackslash{}input\{x\}"
    assert "\n" not in escaped("a\nb")
    assert escaped("[ab*]") == "{[}ab{*}{]}", "no option of the line before"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX is installed")
def test_it_compiles(tmp_path):
    if subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:
        pytest.skip("this TeX has no booktabs")
    values = {(HOSTILE, metric): Value(-0.5, "-0.500", "0.1", "[-0.6, 0.2]", True) for metric in ("spearman", "mse")}
    entry = Entry((HOSTILE, HOSTILE), values, "a", "*", HOSTILE)
    hostile = latex_table(
        Paper(("Method", "Features"), (HOSTILE,), ("spearman", "mse"), (entry, entry), escaped(HOSTILE), HOSTILE)
    )
    interval = {BALL: Interval(0.5, 0.9)}
    tables = [
        hostile,
        *(latex_lines([*published_lines(name), run_line(spearman_interval=interval)], name) for name in ("rg", "fisv")),
    ]
    begin = "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(begin + "\n\n".join(tables) + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 10_000
