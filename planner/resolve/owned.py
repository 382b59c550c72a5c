"""What owned machines cost: capital by annuity, energy, hosting and upkeep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from planner.scenario.model import Owned
from planner.units import HOURS_PER_YEAR

_WATTS_PER_KILOWATT: Final = 1000
_MONTHS_PER_YEAR: Final = 12


@dataclass(frozen=True, slots=True)
class OwnedCost:
    """Yearly cost of one owned machine [USD per year]."""

    capital_usd_per_year: float
    energy_usd_per_year: float
    hosting_usd_per_year: float
    upkeep_usd_per_year: float

    @property
    def running_usd_per_year(self) -> float:
        """What is paid each year besides the purchase."""
        return self.energy_usd_per_year + self.hosting_usd_per_year + self.upkeep_usd_per_year

    @property
    def usd_per_hour(self) -> float:
        """All of it over the 8,760 hours of a year, used or not."""
        return (self.capital_usd_per_year + self.running_usd_per_year) / HOURS_PER_YEAR


def capital_recovery_factor(discount_rate: float, years: float) -> float:
    """Yearly payment that repays 1 over `years`: r (1 + r)^n / ((1 + r)^n - 1), 1/n at r = 0.

    Source: the annuity formula, as in ASTM E917 life-cycle costing.
    """
    if discount_rate == 0:
        return 1 / years
    growth = float((1 + discount_rate) ** years)
    return discount_rate * growth / (growth - 1)


def owned_cost(machine: Owned, tdp_w: float | None) -> OwnedCost:
    """The yearly cost of a machine given by its purchase price.

    Capital: (price - residual / (1 + r)^life) x capital recovery factor. Energy: power x load
    factor x 8,760 h x PUE x tariff; the power is the machine's own figure, or that of its GPUs
    (`tdp_w` each) where none is given.

    Raises:
        ValueError: neither the machine's power nor its GPU's is known.
    """
    price, life, rate = machine.purchase_usd or 0.0, machine.life_years, machine.discount_rate
    if machine.power_kw is None and tdp_w is None:
        raise ValueError(f"the power of {machine.name} is not known")
    gpus_kw = machine.gpu_count * (tdp_w or 0.0) / _WATTS_PER_KILOWATT
    power_kw = gpus_kw if machine.power_kw is None else machine.power_kw
    kilowatt_hours = power_kw * machine.load_factor * HOURS_PER_YEAR * machine.pue
    net = price - machine.residual_usd / (1 + rate) ** life
    return OwnedCost(
        capital_usd_per_year=net * capital_recovery_factor(rate, life),
        energy_usd_per_year=kilowatt_hours * machine.usd_per_kwh,
        hosting_usd_per_year=machine.hosting_usd_per_month * _MONTHS_PER_YEAR,
        upkeep_usd_per_year=machine.upkeep_share_per_year * price,
    )
