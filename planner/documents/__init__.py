"""Reading YAML and JSON Schema checks with positions: the same code for catalogs and users."""

from planner.documents.reader import Document, Mark, load_document, parse_document
from planner.documents.schema import check_document, load_schema

__all__ = [
    "Document",
    "Mark",
    "check_document",
    "load_document",
    "load_schema",
    "parse_document",
]
