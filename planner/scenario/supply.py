"""Supply and budgets: GPUs, counts, layouts, providers, ways of buying, ceilings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from planner.errors import did_you_mean
from planner.scenario.builder import Builder, Path_, sizes, texts
from planner.scenario.model import Budget, Owned, Supply, Workload

_PURCHASE_KEYS: Final = frozenset(
    {
        "residual_usd",
        "life_years",
        "discount_rate",
        "power_kw",
        "load_factor",
        "pue",
        "usd_per_kwh",
        "hosting_usd_per_month",
        "upkeep_share_per_year",
    }
)


class SupplyBuilder(Builder):
    """Builds the supply side of a scenario."""

    def supply(self, item: Mapping[str, Any]) -> Supply:
        path: Path_ = ("supply",)
        parallel = item.get("parallel") or {}
        regions = texts(item.get("regions"))
        providers = texts(item.get("providers"))
        purchase = texts(item.get("purchase")) or ("on-demand",)
        owned = self.owned(item.get("owned") or [], purchase)
        if "owned" in purchase and not owned and ("supply", "owned") not in self.raw.broken:
            self.report((*path, "purchase"), "missing-key", "buying 'owned' needs 'owned' machines")
        return Supply(
            gpus=self.gpus(item.get("gpus"), (*path, "gpus")),
            gpu_counts=tuple(sorted(n for n in item.get("gpu_counts") or (1, 2, 4, 8) if n)),
            tensor=sizes(parallel.get("tensor", "auto")),
            pipeline=sizes(parallel.get("pipeline", 1)),
            expert=sizes(parallel.get("expert", 1)),
            data=sizes(parallel.get("data", 1)),
            context=sizes(parallel.get("context", 1)),
            sharding=None
            if "auto" in texts(parallel.get("sharding", "auto"))
            else texts(parallel["sharding"]),
            multi_node=bool(parallel.get("multi_node", False)),
            providers=self.named("providers", providers, (*path, "providers")),
            regions=self.named("regions", regions, (*path, "regions")),
            purchase=purchase,
            discounts={
                self.name("providers", provider, (*path, "discounts", provider)): share
                for provider, share in (item.get("discounts") or {}).items()
            },
            owned=owned,
            instance_types=self.named(
                "instance_types", texts(item.get("instance_types")), (*path, "instance_types")
            ),
            min_vcpus=(item.get("host") or {}).get("min_vcpus"),
            min_ram_gb=(item.get("host") or {}).get("min_ram_gb"),
            engine_splits="pipeline" not in parallel
            and sizes(parallel.get("tensor", "auto")) is None,
        )

    def named(self, kind: str, names: tuple[str, ...], path: Path_) -> tuple[str, ...]:
        """Provider or region names as ids; empty for `any`."""
        if not names or names == ("any",):
            return ()
        listed = isinstance(self.raw.data["supply"].get(path[-1]), list)
        return tuple(
            self.name(kind, name, (*path, index) if listed else path)
            for index, name in enumerate(names)
        )

    def gpus(self, items: Any, path: Path_) -> tuple[str, ...]:
        names = [items] if isinstance(items, str) else list(items or [])
        if names == ["all"]:
            return ("all",)
        listed = isinstance(items, list)
        found: list[str] = []
        for index, name in enumerate(names):
            if name is None:
                continue
            here = (*path, index) if listed else path
            gpu = self.name("gpus", name, here)
            if gpu in found:
                self.report(here, "duplicate-value", f"'{name}' is {gpu}, which is listed already")
            found.append(gpu)
        return tuple(found)

    def owned(self, items: Iterable[Any], purchase: tuple[str, ...]) -> tuple[Owned, ...]:
        machines: list[Owned] = []
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not {"gpu", "gpu_count"} <= set(item):
                continue
            here: Path_ = ("supply", "owned", index)
            self.owned_price(item, here)
            gpu = self.name("gpus", item["gpu"], (*here, "gpu"))
            known = {field.name for field in dataclasses.fields(Owned)}
            given = {key: value for key, value in item.items() if key in known}
            given["name"] = item.get("name", f"owned {item['gpu_count']}x {gpu}")
            machines.append(Owned(**{**given, "gpu": gpu}))
            wanted = self.raw.data["supply"].get("gpus")
            listed = texts(wanted)
            if listed and listed != ("all",) and gpu not in self.known_gpus(listed):
                message = f"'{item['gpu']}' is not in supply.gpus, so this machine is never used"
                self.report((*here, "gpu"), "unused-key", message)
        if machines and "owned" not in purchase:
            self.report(
                ("supply", "owned"),
                "unused-key",
                "'owned' machines are not in 'purchase'",
                "add owned to purchase",
                key=True,
            )
        return tuple(machines)

    def known_gpus(self, names: tuple[str, ...]) -> set[str]:
        """Ids of GPU names, leaving out those that are reported elsewhere as unknown."""
        found = set()
        for name in names:
            try:
                found.add(self._resolve("gpus", name))
            except LookupError:
                continue
        return found

    def owned_price(self, item: Mapping[str, Any], path: Path_) -> None:
        """Exactly one of the two ways to say what a machine costs."""
        if "purchase_usd" in item and "usd_per_hour" in item:
            message = "'usd_per_hour' and 'purchase_usd' exclude each other"
            self.report((*path, "purchase_usd"), "contradiction", message, key=True)
        elif "purchase_usd" not in item and "usd_per_hour" not in item:
            hint = "give its full cost per hour, or purchase_usd and usd_per_kwh"
            self.report(path, "missing-key", "the cost of the machine is missing", hint)
        elif "purchase_usd" in item:
            if "usd_per_kwh" not in item:
                message = "'usd_per_kwh' is required with 'purchase_usd'"
                self.report(path, "missing-key", message)
            if item.get("residual_usd", 0) > item["purchase_usd"]:
                message = "the residual value is above the purchase price"
                self.report((*path, "residual_usd"), "contradiction", message)
        else:
            for key in sorted(_PURCHASE_KEYS & set(item)):
                message = f"'{key}' has no effect beside 'usd_per_hour', which is the full cost"
                self.report((*path, key), "unused-key", message, key=True)

    def budgets(self, items: Iterable[Any], workloads: list[Workload]) -> tuple[Budget, ...]:
        budgets: list[Budget] = []
        names = [workload.name for workload in workloads]
        tags = sorted(
            {tag for w in workloads for tag in w.tags} | set(texts(self.raw.data.get("tags")))
        )
        for index, item in enumerate(items):
            if not isinstance(item, dict) or "id" not in item:
                continue
            if item["id"] in [budget.id for budget in budgets]:
                message = f"'{item['id']}' is the id of another budget too"
                self.report(("budgets", index, "id"), "duplicate-name", message)
            if not set(item) - {"id", "scope", "level"}:
                message = "a budget without a limit can't be broken"
                self.report(("budgets", index), "missing-key", message, "set max_usd_per_month")
            scope = item.get("scope", "all")
            kind, name = next(iter(scope.items())) if isinstance(scope, dict) else ("all", "")
            known = {"workload": names, "tag": tags, "all": [""]}[kind]
            if name not in known:
                self.report(
                    ("budgets", index, "scope", kind),
                    f"unknown-{kind}",
                    f"'{name}' is no {kind} of this scenario",
                    did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}",
                )
            budgets.append(
                Budget(
                    item["id"],
                    kind,
                    name,
                    item.get("max_usd_per_month"),
                    item.get("level", "error"),
                )
            )
        return tuple(budgets)
