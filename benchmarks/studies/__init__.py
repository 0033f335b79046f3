"""Experiments with models of few videos, by cross-validation; benchmarks/study.py runs them by name."""
