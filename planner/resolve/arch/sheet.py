"""The sheet on which blocks write tensors, and the per-layer plan that they follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from planner.resolve.arch.config import Config
from planner.resolve.facts import Role, Split, Tensor, TensorKind


class Plan(NamedTuple):
    """What a family decides for one decoder layer before any shape is computed.

    `mixer` and `mlp` pick the blocks; `window` is the span of a sliding or chunked layer; `tag`
    carries whatever else tells layers of one family apart.
    """

    mixer: str = "full"
    window: int | None = None
    mlp: str = "dense"
    tag: Any = None


class Entry(NamedTuple):
    """A tensor before it is known which layers hold it."""

    name: str
    shape: tuple[int, ...]
    role: Role
    kind: TensorKind
    split: Split
    in_features: int = 0
    out_features: int = 0
    tied: bool = False
    copies: int = 1


class Sheet:
    """Collects tensors under a name prefix.

    `role` is what `linear` and `param` book under unless told otherwise; a sheet with `whole`
    books everything under its role (towers). `norms` is the kind of norm layers: `rms` (weight),
    `layer` (weight and bias), `layer_nobias` (weight) or `none` (no parameters).
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        role: Role = "other",
        norms: str = "rms",
        copies: int = 1,
        whole: bool = False,
        entries: list[Entry] | None = None,
        layer: dict[str, Any] | None = None,
        tied: bool = False,
    ) -> None:
        self.prefix = prefix
        self.role = role
        self.norms = norms
        self.copies = copies
        self.whole = whole
        self.tied = tied
        self.entries: list[Entry] = [] if entries is None else entries
        self.layer: dict[str, Any] = {} if layer is None else layer

    def at(
        self, name: str, role: Role | None = None, *, copies: int = 1, norms: str | None = None
    ) -> Sheet:
        """A sheet for the module `name` below this one; writes to the same list."""
        return Sheet(
            f"{self.prefix}{name}." if name else self.prefix,
            role=self.role if role is None or self.whole else role,
            norms=norms or self.norms,
            copies=self.copies * copies,
            whole=self.whole,
            entries=self.entries,
            layer=self.layer,
            tied=self.tied,
        )

    def shared(self) -> Sheet:
        """This sheet, for tensors that share the storage of another layer's."""
        sheet = self.at("")
        sheet.tied = True
        return sheet

    def outer(self) -> Sheet:
        """A sheet for the module that holds this one."""
        return Sheet(
            self.prefix.rstrip(".").rpartition(".")[0] + ".",
            role=self.role,
            norms=self.norms,
            copies=self.copies,
            whole=self.whole,
            entries=self.entries,
            layer=self.layer,
            tied=self.tied,
        )

    def booked(self, role: Role, *, whole: bool = True) -> Sheet:
        """This sheet, booking under another role; norms and the like too where `whole`."""
        return Sheet(
            self.prefix,
            role=role,
            norms=self.norms,
            copies=self.copies,
            whole=whole,
            entries=self.entries,
            layer=self.layer,
            tied=self.tied,
        )

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        role: Role | None,
        kind: TensorKind,
        split: Split,
        in_features: int = 0,
        out_features: int = 0,
        tied: bool = False,
    ) -> None:
        booked = self.role if role is None or self.whole else role
        self.entries.append(
            Entry(
                self.prefix + name,
                shape,
                booked,
                kind,
                split,
                in_features,
                out_features,
                tied or self.tied,
                self.copies,
            )
        )

    def linear(
        self,
        name: str,
        n_in: int,
        n_out: int,
        *,
        bias: bool = False,
        split: Split = "column",
        role: Role | None = None,
        transposed: bool = False,
        tied: bool = False,
    ) -> None:
        """The weight (and bias) of an nn.Linear, or of a Conv1D where `transposed`."""
        shape = (n_in, n_out) if transposed else (n_out, n_in)
        self._add(f"{name}.weight", shape, role, "linear", split, n_in, n_out, tied)
        if bias:
            cut: Split = "replicated" if split == "row" else split
            self._add(f"{name}.bias", (n_out,), role, "bias", cut)

    def norm(self, name: str, width: int, kind: str | None = None, role: Role = "norm") -> None:
        """The parameters of a norm over `width` values."""
        kind = kind or self.norms
        if kind == "none":
            return
        self._add(f"{name}.weight", (width,), role, "norm", "replicated")
        if kind == "layer":
            self._add(f"{name}.bias", (width,), role, "norm", "replicated")

    def embedding(
        self, name: str, rows: int, width: int, *, role: Role = "embedding", split: Split = "vocab"
    ) -> None:
        """A lookup table."""
        self._add(f"{name}.weight", (rows, width), role, "embedding", split)

    def conv(
        self,
        name: str,
        n_out: int,
        n_in_per_group: int,
        *kernel: int,
        bias: bool = True,
        split: Split = "replicated",
    ) -> None:
        """A convolution of one or more dimensions."""
        self._add(f"{name}.weight", (n_out, n_in_per_group, *kernel), None, "conv", split)
        if bias:
            self._add(f"{name}.bias", (n_out,), None, "bias", split)

    def param(
        self,
        name: str,
        *shape: int,
        kind: TensorKind = "other",
        role: Role | None = None,
        split: Split = "replicated",
    ) -> None:
        """A bare parameter."""
        self._add(name, shape, role, kind, split)

    def experts(
        self, name: str, count: int, n_in: int, n_out: int, *, flipped: bool = False
    ) -> None:
        """A fused expert weight `(experts, out, in)`, or `(experts, in, out)` where `flipped`."""
        shape = (count, n_in, n_out) if flipped else (count, n_out, n_in)
        self._add(name, shape, "routed_experts", "experts", "experts", n_in, n_out)


Block = Callable[[Config, Plan, Sheet], None]
Flag = bool | str | Callable[[Config], bool]


def flag(config: Config, rule: Flag) -> bool:
    """A feature switch: fixed, the name of a config field, or computed from the config."""
    if isinstance(rule, bool):
        return rule
    if isinstance(rule, str):
        return bool(config.get(rule, False))
    return rule(config)


def tensors_of(
    entries_by_layer: list[tuple[tuple[int, ...], list[Entry]]],
) -> list[Tensor]:
    """Entries of each group of alike layers, joined by name and shape into tensors."""
    held: dict[Entry, list[int]] = {}
    for layers, entries in entries_by_layer:
        for entry in entries:
            held.setdefault(entry, []).extend(layers)
    return [
        Tensor(
            name=entry.name,
            shape=entry.shape,
            role=entry.role,
            kind=entry.kind,
            split=entry.split,
            layers=tuple(sorted(layers)),
            copies=entry.copies,
            in_features=entry.in_features,
            out_features=entry.out_features,
            tied=entry.tied,
        )
        for entry, layers in held.items()
    ]
