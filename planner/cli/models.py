"""`planner models list|show|add`: what is known of models; `add` alone uses the network."""

from __future__ import annotations

import contextlib
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.lock import read_on, summary
from planner.cli.tables_text import show_table

if TYPE_CHECKING:
    from planner.resolve.facts import ModelFacts

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
assume_like_option = click.option(
    "--assume-like",
    metavar="TYPE",
    help="Read a config of an unknown model_type as this known one; the record says so.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A config.json, a checkpoint folder, a GGUF file, or a record of `models add`.",
)


@click.group()
def models() -> None:
    """Models: parameters by role, KV cache, formats, source; new ones from the hub or a file."""


@models.command("list")
@click.argument("text", required=False, default="")
@click.option("--type", "model_type", help="Only this model_type, such as llama or qwen3_moe.")
@click.option("--min-parameters", type=float, help="At least this many parameters [10^9].")
@click.option("--max-parameters", type=float, help="At most this many parameters [10^9].")
@json_option
def list_models(
    text: str,
    model_type: str | None,
    min_parameters: float | None,
    max_parameters: float | None,
    as_json: bool,
) -> None:
    """List the models of the catalog and of the folder models/, or those whose id holds TEXT.

    \b
    Example:
      planner models list qwen3 --max-parameters 40
    """
    from planner.catalog.load import load_catalog
    from planner.resolve.models import own_records

    catalog = load_catalog()
    own = {record["id"]: record for record, _ in own_records(Path())}
    rows = []
    for name in sorted({*catalog.models(), *own}, key=str.casefold):
        record = own.get(name) or catalog.models()[name]
        kind = str(record["config"].get("model_type") or "")
        names = [name, *record.get("aliases", ())]
        if text and not any(text.casefold() in word.casefold() for word in names):
            continue
        if model_type and kind != model_type:
            continue
        rows.append(_list_row(record, kind, "models/" if name in own else "catalog"))
    low, high = min_parameters or 0.0, max_parameters or float("inf")
    if min_parameters is not None or max_parameters is not None:
        rows = [
            row
            for row in rows
            if row["parameters"] and low * 1e9 <= row["parameters"] <= high * 1e9
        ]
    show_table(rows, as_json=as_json)


def _list_row(record: dict[str, Any], kind: str, where: str) -> dict[str, Any]:
    from planner.errors import PlannerError
    from planner.resolve.records import facts_of_record

    facts: ModelFacts | None = None
    # `show` says what is wrong with an entry; a list must not fail over one.
    with contextlib.suppress(PlannerError):
        facts = facts_of_record(record, source="")
    return {
        "model": record["id"],
        "model_type": kind,
        "parameters": facts.parameters if facts else None,
        "active_parameters": facts.active_parameters if facts else None,
        "layers": facts.num_hidden_layers if facts else None,
        "max_position_embeddings": facts.max_position_embeddings if facts else None,
        "quantization": facts.quantization_method if facts else "",
        "confidence": record.get("confidence"),
        "from": where,
    }


@models.command("show")
@click.argument("model", required=False)
@config_option
@assume_like_option
@click.option(
    "--lora", metavar="RANK:TARGETS", help="Count an adapter: 16:all-linear, 8:q_proj,v_proj."
)
@click.option("--mtp", is_flag=True, help="Count multi-token-prediction layers too.")
@json_option
def show_model(
    model: str | None,
    config: Path | None,
    assume_like: str | None,
    lora: str | None,
    mtp: bool,
    as_json: bool,
) -> None:
    """Show one model: parameters by role, weights per format, KV cache, layers, source.

    \b
    MODEL is an id or alias of the catalog or of models/, or a path. Nothing is fetched.
    Examples:
      planner models show Qwen/Qwen3-8B --lora 16:all-linear
      planner models show --config ./checkpoint --json
    """
    from planner.catalog.load import load_catalog
    from planner.resolve.card import card, card_text
    from planner.resolve.models import facts_of_path, published_parameters, resolve_model

    adapter = _lora(lora)
    options: dict[str, Any] = {"include_mtp": mtp, "assume_like": assume_like}
    if config is not None:
        facts = facts_of_path(config, model=model, **options)
    elif model is not None:
        facts = resolve_model(model, catalog=load_catalog(), **options)
    else:
        raise click.UsageError("name a model, or give --config PATH")
    if as_json:
        click.echo(json.dumps(card(facts, lora=adapter), indent=2))
        return
    catalog = load_catalog()
    rows = {row["weight_format"]: row for row in catalog.formats.to_dicts()}
    others = published_parameters(facts.model, catalog) if config is None else {}
    click.echo(card_text(facts, formats=rows, published_parameters=others, lora=adapter))


def _lora(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    rank, colon, targets = text.partition(":")
    if not rank.isdigit() or int(rank) < 1 or (colon and not targets):
        raise click.BadParameter(
            f"'{text}' is not RANK:TARGETS, such as 16:all-linear", param_hint="--lora"
        )
    return int(rank), targets or "all-linear"


@models.command("add")
@click.argument("reference", metavar="[ID[@REVISION]]", required=False)
@config_option
@click.option("--id", "name", help="Name of a model that is added with --config.")
@click.option(
    "--derive", is_flag=True, help="Make the facts with the real class (needs planner[derive])."
)
@assume_like_option
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models"),
    show_default=True,
    help="Folder of your own records.",
)
@read_on
def add_model(
    reference: str | None,
    config: Path | None,
    name: str | None,
    derive: bool,
    assume_like: str | None,
    into: Path,
    on: date,
) -> None:
    """Read a model from the hub, or from a file, and keep its facts in a folder of your own.

    \b
    From the hub it reads the config and the headers of the weight files, at one commit; no
    weights are downloaded. The record holds commit, file hashes and date, and is found by its id
    from then on: from models/ beside a scenario, above it, or where a command runs.
    Examples:
      planner models add acme/support-12b@v2
      planner models add --config ./checkpoint --id acme/support-12b
    """
    from planner.resolve.adding import record_from_file, record_from_hub, save

    if (reference is None) == (config is None):
        raise click.UsageError("give either ID[@REVISION] or --config PATH")
    if config is not None:
        record = record_from_file(config, name, on)
    elif name is not None:
        raise click.UsageError("--id goes with --config; a model of the hub keeps its id")
    else:
        record = record_from_hub(reference or "", on)
    path, facts = save(record, into, derive=derive, assume_like=assume_like)
    click.echo(f"{path}: {summary(record)}; {facts.parameters:,} parameters")
    for note in (*facts.assumptions, *facts.notes):
        click.echo(f"  {note}")
