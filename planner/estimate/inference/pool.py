"""The KV pool of an engine that fills a fraction of the card, and what it holds.

A pool is cut into blocks of `block` tokens of a group of layers. Models with windows keep groups
of one kind and equal size, each with its own pages (vLLM `kv_cache_utils.py`), so a pool's size in
tokens depends on the length of a sequence.
"""

from __future__ import annotations

import polars as pl

from planner.estimate.inference.constants import INDEX_ENTRY_BYTES
from planner.estimate.inference.draft import draft_token_bytes
from planner.estimate.inference.host import gpu_layer_share
from planner.estimate.kv_cache import sequence_tokens_bytes


def cache_rates() -> list[pl.Expr]:
    """Bytes per token of global and local layers and bytes of constant state, as the engine keeps.

    Adds `global_token_bytes`, `local_token_bytes`, `window`, `state_bytes`. An engine that does
    not know MLA keeps expanded heads; one that ignores windows keeps every token, or a fixed share
    of tokens in a pool of their own (SGLang's swa_full_tokens_ratio); one that repeats
    keys and values to all heads before it caches them keeps those (LitGPT up to 0.5.3, litgpt/
    model.py build_kv_cache; Falcon's new architecture, modeling_falcon.py _split_heads), but the
    one group of multi-query attention as it is.
    """
    latent = (pl.col("knows_mla") == 0) & pl.col("has_mla")
    kept = pl.when(latent).then("expanded_elements").otherwise("global_elements")
    ignores = pl.col("ignores_windows") > 0
    repeats = pl.col("caches_query_heads") > 0
    repeated = pl.when(repeats).then(pl.col("queries_per_group").fill_null(1.0)).otherwise(1.0)
    kept = kept * _alignment() * repeated
    local = pl.col("local_elements") * repeated
    whole = local * pl.col("ignored_windows_share")
    element = pl.col("cache_element_bytes")
    share = gpu_layer_share()
    state = (
        share
        * (
            pl.col("conv_state_elements") * pl.col("activation_element_bytes")
            + pl.col("ssm_state_elements") * _state_element_bytes()
        )
        * pl.col("state_copies")
    )
    return [
        (
            (kept + pl.when(ignores).then(whole).otherwise(0.0)) * element
            + pl.col("indexer_elements") * INDEX_ENTRY_BYTES
        )
        .mul(share)
        .add(draft_token_bytes())
        .alias("global_token_bytes"),
        (share * pl.when(ignores).then(0.0).otherwise(local) * element).alias("local_token_bytes"),
        pl.when(ignores).then(None).otherwise(pl.col("local_window_tokens")).alias("window"),
        state.alias("state_bytes"),
    ]


def _state_element_bytes() -> pl.Expr:
    """The engine's width of recurrent state; 0 there: what the config names, or the model's own."""
    named = pl.col("state_element_bytes_named").cast(pl.Float64)
    own = pl.coalesce(named, "activation_element_bytes")
    fixed = pl.col("state_element_bytes")
    return pl.when(fixed > 0).then(fixed).otherwise(own)


def _alignment() -> pl.Expr:
    """How much longer an entry of the latent is where an engine aligns it: 576 -> 640 elements."""
    unit, entry = pl.col("mla_entry_alignment_elements"), pl.col("latent_elements")
    latent = (pl.col("knows_mla") > 0) & pl.col("has_mla") & (unit > 0)
    return pl.when(latent).then((entry / unit).ceil() * unit / entry).otherwise(1.0)


def layer_groups() -> list[pl.Expr]:
    """Groups of equal size that layers of each kind are cut into: `group_layers`, `..._groups`.

    Pages are equally large: a kind of narrower layers has more tokens in one, `..._page_ratio`
    times a block (unify_kv_cache_spec_page_size; Gemma 4's full layers). Kinds whose layers differ
    among themselves keep blocks of one size.

    vLLM takes the smaller kind's count as the size, or the larger where they are within
    `groups_alike_share` of each other.
    """
    full, local = pl.col("global_layers"), pl.col("local_layers")
    small = pl.min_horizontal(full, local)
    large = pl.max_horizontal(full, local)
    one_kind = (small == 0) | (pl.col("has_hybrid_cache") == 0)
    size = (
        pl.when(one_kind)
        .then(full + local)
        .when(large < pl.col("groups_alike_share") * small)
        .then(large)
        .otherwise(small)
        .clip(1)
    )
    widest = pl.col("largest_layer_elements")

    def ratio(kind: str) -> pl.Expr:
        times = widest * pl.col(f"{kind}_layers") / pl.col(f"{kind}_elements")
        whole = (times >= 1) & times.is_finite() & (times == times.floor())
        return pl.when(whole).then(times).otherwise(1.0)

    return [
        ratio("global").alias("global_page_ratio"),
        ratio("local").alias("local_page_ratio"),
        size.alias("group_layers"),
        (full / size).ceil().alias("global_groups"),
        (local / size).ceil().alias("local_groups"),
    ]


def sequence_pages() -> pl.Expr:
    """Pages (one group, one block) that a sequence of `room_tokens` takes.

    A local group keeps its window and the tokens of the running steps, and one page more, as a
    window may begin within a block (kv_cache_interface.py SlidingWindowSpec).
    """
    block, tokens = pl.col("block"), pl.col("room_tokens")
    held = pl.min_horizontal(tokens, _local_tokens())
    local = pl.when(pl.col("window").is_null()).then(tokens).otherwise(held)
    return (
        pl.col("global_groups") * (tokens / (block * pl.col("global_page_ratio"))).ceil()
        + pl.col("local_groups") * (local / (block * pl.col("local_page_ratio"))).ceil()
        + begun_pages()
    )


def begun_pages() -> pl.Expr:
    """Pages of a sequence's local groups beyond whole blocks, whatever its length."""
    return pl.when(pl.col("window").is_null()).then(0.0).otherwise("local_groups")


def paged_rates() -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Bytes per token of global and local layers and the window, in the units of sequence_bytes.

    Where layers are cut into groups: the groups' pages a block, and a window of so many whole
    blocks as a local group keeps. A multiple of the block is then counted exactly.
    """
    local_block = pl.col("block") * pl.col("local_page_ratio")
    in_global = page_bytes() / (pl.col("block") * pl.col("global_page_ratio"))
    pages = {
        "global": pl.col("global_groups") * in_global + draft_token_bytes(),
        "local": pl.col("local_groups") * page_bytes() / local_block,
        "window": (_local_tokens() / local_block).ceil() * local_block,
    }
    plain = {"global": "global_token_bytes", "local": "local_token_bytes", "window": "window"}
    of_global, of_local, window = (
        pl.when(is_grouped()).then(pages[kind]).otherwise(plain[kind]) for kind in pages
    )
    return of_global, of_local, window


def is_grouped() -> pl.Expr:
    """Whether the engine keeps pages of groups, some of which forget what left their window."""
    return (pl.col("local_token_bytes") > 0) & (pl.col("has_hybrid_cache") > 0)


def _local_tokens() -> pl.Expr:
    """Tokens a local group keeps at most: its window and the tokens of the running steps."""
    running = pl.col("batches_in_flight") * pl.col("batched_tokens")
    return pl.col("window").fill_null(0) - 1 + running


def page_bytes() -> pl.Expr:
    """Bytes of one page: a block of tokens of one group of layers."""
    element = pl.col("cache_element_bytes")
    entry = pl.col("largest_layer_elements") * _alignment()
    return pl.col("group_layers") * pl.col("block") * entry * element


def uniform() -> pl.Expr:
    """Whether every layer keeps every token, so that bytes per token say all."""
    return (pl.col("local_token_bytes") == 0) & (pl.col("state_bytes") == 0)


def sequence_bytes(tokens: pl.Expr) -> pl.Expr:
    """Bytes of one sequence in the pool, in whole blocks, with its constant state."""
    blocks = (tokens / pl.col("block")).ceil() * pl.col("block")
    plain = sequence_tokens_bytes(
        blocks, pl.col("global_token_bytes"), pl.col("local_token_bytes"), pl.col("window")
    )
    pages = sequence_pages() * page_bytes() + blocks * draft_token_bytes()
    return pl.when(is_grouped()).then(pages).otherwise(plain) + pl.col("state_bytes")


def prompt_bytes() -> pl.Expr:
    """Bytes that a prompt alone caches, without constant state.

    An engine may apply windows in the next step only: the sliding layers of Transformers from 4.56
    keep views of keys and values of the whole prompt (cache_utils.py DynamicSlidingWindowLayer).
    Values that are a view of one projection's output keep queries and keys alive with them until
    the next step joins anew (modeling_phi3.py, DynamicCache before 4.56).
    """
    tokens, full, local = (
        pl.col(name) for name in ("prompt_tokens", "global_token_bytes", "local_token_bytes")
    )
    late = pl.col("prefill_ignores_windows") > 0
    whole = tokens * (full + local)
    windowed = sequence_tokens_bytes(tokens, full, local, pl.col("window"))
    cached = pl.when(late).then(whole).otherwise(windowed)
    viewed = pl.col("fused_query_key_elements").fill_null(0) * pl.col("activation_element_bytes")
    stages = pl.col("pipeline_parallel_size")
    return cached + pl.col("caches_fused_outputs") * tokens * viewed / stages


def pool_tokens(pool: pl.Expr, *, at_any_context: bool = False) -> pl.Expr:
    """Tokens that an engine prints as the size of its pool.

    Whole blocks where every layer keeps every token; otherwise the concurrency at the context
    times the context (vLLM), or blocks per group in versions that print those. Where the context
    is not told, `at_any_context` counts sliding layers in full, as in a short one.
    """
    block_bytes = pl.col("block") * pl.col("global_token_bytes")
    plain = (pool / block_bytes).floor() * pl.col("block")
    groups = pl.col("global_groups") + pl.col("local_groups") + state_groups()
    by_group = (pool / page_bytes() / groups).floor() * pl.col("block")
    whole = pool / pl.col("room_sequence_bytes") * pl.col("room_tokens")
    short = pool / (pl.col("global_token_bytes") + pl.col("local_token_bytes"))
    untold = pl.lit(at_any_context) & pl.col("context_tokens").is_null()
    hybrid = pl.when(untold).then(pl.min_horizontal(whole, short)).otherwise(whole)
    return (
        pl.when(uniform())
        .then(plain)
        .when(pl.col("tokens_by_groups") > 0)
        .then(by_group)
        .otherwise(hybrid)
    )


def state_groups() -> pl.Expr:
    """Groups of recurrent layers beside the attention groups."""
    return (pl.col("state_layers") / pl.col("group_layers")).ceil()
