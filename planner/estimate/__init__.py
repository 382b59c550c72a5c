"""Estimators: pure functions over polars columns."""
