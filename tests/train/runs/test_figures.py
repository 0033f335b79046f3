"""Figures of a report."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from longtake.train.runs import figures

VALUES = np.arange(3.0)


def test_every_figure_is_one_element_that_takes_its_colours_from_the_page():
    drawn = [
        figures.scatter("a & b", VALUES, VALUES, "points"),
        figures.scatter("equal", np.ones(3), np.ones(3), "points"),
        figures.curves("a", "loss", {"one": {1: 0.5, 2: 0.25}, "two": {1: 0.5}}),
        figures.embedding("a", np.eye(2), np.array([0, 1]), ["low", "high"], 0.5),
    ]
    for text in drawn:
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg") and root.get("role") == "img"
        assert root.get("viewBox") and root.get("width") is root.get("height") is None
        assert "currentColor" in text and figures.INK not in text and "font-family" not in text


def test_a_figure_is_the_same_in_every_run():
    assert figures.scatter("a", VALUES, VALUES, "points") == figures.scatter("a", VALUES, VALUES, "points")


def test_dollars_in_names_are_not_mathematics():
    values = np.arange(3.0)
    assert ">price $x_1$</text>" in figures.scatter("price $x_1$", values, values, "points")
    assert ">$x_1$</text>" in figures.embedding("$x_1$", np.eye(2), np.array([0, 1]), ["low", "high"], 0.5)
