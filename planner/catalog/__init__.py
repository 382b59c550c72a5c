"""Catalogs: accelerators, prices, formats, optimizers, engines and models, as data with sources."""

from planner.catalog.load import Catalog, catalog_rows, load_catalog
from planner.catalog.names import NameProblem, resolve_name
from planner.catalog.read import read_rows

__all__ = [
    "Catalog",
    "NameProblem",
    "catalog_rows",
    "load_catalog",
    "read_rows",
    "resolve_name",
]
