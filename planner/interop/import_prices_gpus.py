"""Which GPU a listing means: by its names, its form factor, and its memory.

Names alone do not say it: `A100` has 40 or 80 GB, `H100` is SXM, PCIe or NVL, marketplaces merge
`RTX 4060 Ti` into `RTX4060`. Every name narrows the candidates, then the memory does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from planner.catalog.load import Catalog
from planner.catalog.names import NameProblem, squash
from planner.errors import quoted_list
from planner.units import BYTES_PER_GIB

_NEAR: Final = 0.07
"""Sellers state the marketing figure, the driver's, or decimal GB called GiB: at most 7 % apart."""
_SINGLE_NEAR: Final = 0.13
"""With one candidate left, what still counts as the same card (288 GB said of a 256 GB MI325X)."""
_MEMORY: Final = re.compile(r"(?<![a-z0-9])(\d+)\s?g(?:i?b)?(?![a-z0-9])")
_FORM: Final = re.compile(r"(sxm|pcie|pci|nvl)\d?(?![0-9a-z])")
_EDITION: Final = re.compile(r"[\s_-]?(workstation|server|wk|ws)(?: edition)?(?![a-z])")
_NOISE: Final = re.compile(
    r"\b(nvidia|amd|intel|google|aws|tesla|geforce|instinct|radeon|blackwell|generation|edition"
    r"|hbm\d\w*|secure|community)\b"
)
_FORMS: Final = {"pci": "pcie", "wk": "ws", "workstation": "ws"}
_TPU: Final = re.compile(r"^(?:tpu-)?(v\d\w*?)(?:pod)?-(\d+)$", re.IGNORECASE)
_CORES_PER_CHIP: Final = {"v2": 2, "v3": 2, "v4": 2, "v5p": 2}
"""TPU generations whose slices are named after TensorCores; later ones after chips."""


@dataclass(frozen=True, slots=True)
class GpuName:
    """A name taken apart: family without punctuation, form factor or edition, memory in GB."""

    family: str
    form: str
    memory_gb: float | None


@dataclass(frozen=True, slots=True)
class FoundGpu:
    """The GPU of a listing, or why there is none. `note` says what was inferred."""

    gpu: str | None
    reason: str = ""
    note: str = ""


def split_name(name: str) -> GpuName:
    """`A100-80G-PCIe` -> a100, pcie, 80; `RTX_4070S_Ti` -> rtx4070tisuper."""
    text = _NOISE.sub(" ", name.casefold().replace("_", " "))
    memory = _MEMORY.search(text)
    text = _MEMORY.sub(" ", text)
    form = _FORM.search(text)
    edition = None if form else _EDITION.search(text)
    text = _EDITION.sub(" ", _FORM.sub(" ", text))
    family = re.sub(r"(\d{4})s(ti)?$", r"\1\2super", squash(text))
    found = (form or edition or [None, ""])[1] or ""
    return GpuName(family, _FORMS.get(found, found), float(memory[1]) if memory else None)


def tpu_slice(name: str) -> tuple[str, float] | None:
    """Name and chips of a TPU slice (`tpu-v5litepod-8`: tpu-v5e, 8); None for another name."""
    found = _TPU.match(name)
    if not found:
        return None
    generation = {"v5lite": "v5e"}.get(found[1].lower(), found[1].lower())
    return f"tpu-{generation}", int(found[2]) / _CORES_PER_CHIP.get(generation, 1)


class GpuFinder:
    """Finds the catalog's GPU of a listing."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._by_family: dict[str, dict[str, GpuName]] = {}
        self._memories: dict[str, tuple[float, ...]] = {}
        for row in catalog.rows("gpus"):
            own = split_name(row["id"])
            shared = [split_name(name).family for name in row.get("shared_names", ())]
            names = [row["id"], row["name"], *row.get("aliases", ())]
            for family in dict.fromkeys([*(split_name(name).family for name in names), *shared]):
                self._by_family.setdefault(family, {})[row["id"]] = own
        for gpu in catalog.gpus.iter_rows(named=True):
            sizes = (gpu["smi_total_bytes"], gpu["usable_bytes"])
            known = [size / BYTES_PER_GIB for size in sizes if size]
            self._memories[gpu["gpu"]] = (gpu["memory_gb"], *known)

    def find(
        self, names: Sequence[str], *, memory_gib: float | None, count: float, hint: str = ""
    ) -> FoundGpu:
        """The GPU that the names mean, the most telling name first.

        Args:
            names: what the listing calls the GPU. memory_gib: of one GPU, None where not said.
            count: GPUs of the listing: some feeds give the memory of all of them.
            hint: other text that may tell the form factor, such as the instance type.
        """
        parts = [split_name(name) for name in names if name.strip()]
        sets = [set(self._by_family.get(part.family, ())) for part in parts]
        found = next((entries for entries in sets if entries), set())
        if not found:
            return FoundGpu(None, f"not in the GPU catalog: {names[0] if names else 'no name'}")
        for entries in sets:
            found = found & entries or found
        named = [part.memory_gb for part in parts if part.memory_gb]
        stated = named[0] if named else memory_gib
        found, note = self._by_memory(found, stated, count)
        if not found:
            return FoundGpu(None, f"no {names[0]} with {stated:g} GB in the GPU catalog")
        for form in dict.fromkeys([*(part.form for part in parts), *_forms_of(hint)]):
            found = self._of_form(found, form)
        if len(found) == 1:
            return FoundGpu(next(iter(found)), note=note)
        return self._usual(found, names, stated, note)

    def _by_memory(
        self, found: set[str], stated: float | None, count: float
    ) -> tuple[set[str], str]:
        if stated is None:
            return found, ""
        limit = _NEAR if len(found) > 1 else _SINGLE_NEAR
        for size, note in ((stated, ""), (stated / max(count, 1), "memory given for all GPUs")):
            off = {gpu: self._off(gpu, size) for gpu in found}
            near = min(off.values())
            if near <= limit:
                kept = {gpu for gpu, value in off.items() if value <= max(near, _NEAR / 2)}
                if near > _NEAR:
                    note = f"the feed says {stated:g} GB"
                return kept, note
        return set(), ""

    def _off(self, gpu: str, size: float) -> float:
        return min(abs(size / known - 1) for known in self._memories[gpu])

    def _of_form(self, found: set[str], form: str) -> set[str]:
        if not form:
            return found
        return {gpu for gpu in found if split_name(gpu).form == form} or found

    def _usual(
        self, found: Iterable[str], names: Iterable[str], stated: float | None, note: str
    ) -> FoundGpu:
        """The card that the bare name usually means, said to be inferred; else no guess."""
        left = set(found)
        memories = {self._memories[gpu][0] for gpu in left}
        sized = [f"{name}-{size:g}GB" for name in names for size in memories if len(memories) == 1]
        for name in [*names, *sized]:
            try:
                gpu = self.catalog.resolve("gpus", name)
            except NameProblem:
                continue
            if gpu in left:
                inferred = "form factor inferred from the name"
                return FoundGpu(gpu, note="; ".join(filter(None, [note, inferred])))
        sized_words = f" with {stated:g} GB" if stated else ""
        first = next(iter(names), "")
        return FoundGpu(None, f"{first}{sized_words} may mean {quoted_list(sorted(left))}")


def _forms_of(text: str) -> list[str]:
    return [_FORMS.get(form, form) for form in re.findall(r"(sxm|pcie|pci|nvl)", text.casefold())]
