"""Constants and conversions between units.

Bytes are the unit of memory inside the planner; GiB (2**30 bytes) appears only at the edge.
Money is US dollars per hour until it is shown. Column and field names end in their unit.
"""

from typing import Final

BYTES_PER_KIB: Final = 1 << 10
BYTES_PER_MIB: Final = 1 << 20
BYTES_PER_GIB: Final = 1 << 30
BYTES_PER_DECIMAL_GB: Final = 10**9
HOURS_PER_MONTH_DEFAULT: Final = 730
HOURS_PER_YEAR: Final = 8760
SECONDS_PER_HOUR: Final = 3600
MONTHS_PER_YEAR: Final = 12
DAYS_PER_YEAR: Final = 365
HOURS_PER_DAY: Final = 24
MILLISECONDS_PER_SECOND: Final = 1000
BITS_PER_BYTE: Final = 8


def gib(size_bytes: float) -> float:
    """Bytes as GiB."""
    return size_bytes / BYTES_PER_GIB
