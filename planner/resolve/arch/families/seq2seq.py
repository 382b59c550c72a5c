"""Encoder-decoder families: BART and its kin, Whisper, T5.

The layers of the record are the decoder's: what grows with the output. Keys and values of the
cross-attention are computed once for an input and held beside that cache.
"""

from __future__ import annotations

from planner.resolve.arch.attention import note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.sheet import Plan, Sheet

QKVO = ("q_proj", "k_proj", "v_proj", "out_proj")
# Parameters of these types: learned or stored positions past the last one, a norm on the
# embedding, a norm after the stack.
_OFFSET = {"bart": 2, "mbart": 2, "plbart": 2}
_NO_POSITIONS = ("m2m_100",)
_EMBEDDING_NORM = ("bart", "mbart", "plbart", "blenderbot-small")
_LAST_NORM = ("mbart", "pegasus", "m2m_100", "blenderbot", "whisper")
_WHOLE = ("ForConditionalGeneration", "MTModel", "Model", "ForSequenceClassification")


def _check_class(config: Config) -> str:
    name = str((config.get("architectures") or [""])[0])
    if "Encoder" in name or (name and not name.endswith(_WHOLE)):
        raise config.problem(f"class '{name}' is only a part of an encoder-decoder: not covered")
    return name


def _attention(s: Sheet, h: int, *, k_bias: bool) -> None:
    for name in QKVO:
        bias = k_bias or name != "k_proj"
        s.linear(name, h, h, bias=bias, split="row" if name == "out_proj" else "column")


def _note_cross(config: Config, wide: int) -> None:
    config.assume(
        f"cross-attention holds {2 * wide} more elements a decoder layer for each encoder position"
    )


def _bart_plan(config: Config) -> list[Plan]:
    return [Plan()] * int(config.decoder_layers)


def _bart_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    h, q = config.d_model, int(config.decoder_attention_heads)
    k_bias = config.model_type != "whisper"
    for name in ("self_attn", "encoder_attn"):
        _attention(sheet.at(name, "attention"), h, k_bias=k_bias)
    note_attention(sheet, plan, q=q, kv=q, dim=h // q, attention_bias=True)
    _note_cross(config, h)


def _plain(s: Sheet, h: int, width: int) -> None:
    s.linear("fc1", h, width, bias=True, role="mlp")
    s.linear("fc2", width, h, bias=True, split="row", role="mlp")


def _bart_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = int(config.decoder_ffn_dim)
    _plain(sheet, config.d_model, width)
    sheet.layer.update(mlp="plain", intermediate_size=width)


def _bart_extra(config: Config, _: Plan, s: Sheet) -> None:
    """The encoder, and positions and norms of both stacks."""
    _check_class(config)
    h, kind, model = config.d_model, config.model_type, s.outer()
    e = model.at("encoder")
    if kind == "whisper":
        e.conv("conv1", h, config.num_mel_bins, 3)
        e.conv("conv2", h, h, 3)
        rows = {"encoder": config.max_source_positions, "decoder": config.max_target_positions}
    else:
        longest = int(config.max_position_embeddings) + _OFFSET.get(kind, 0)
        rows = {"encoder": longest, "decoder": longest}
    b = e.at("layers.{j}", copies=int(config.encoder_layers))
    _attention(b.at("self_attn", "attention"), h, k_bias=kind != "whisper")
    _plain(b, h, int(config.encoder_ffn_dim))
    for name in ("self_attn_layer_norm", "final_layer_norm"):
        b.norm(name, h, "layer")
    for stack in ("encoder", "decoder"):
        x = model.at(stack)
        if kind not in _NO_POSITIONS:
            x.embedding("embed_positions", rows[stack], h, split="replicated")
        if kind in _EMBEDDING_NORM:
            x.norm("layernorm_embedding", h, "layer")
        if kind in _LAST_NORM:
            x.norm("layer_norm", h, "layer")


def _bart_outside(config: Config, _: Plan, s: Sheet) -> None:
    if _check_class(config).endswith("ForSequenceClassification"):
        named = config.get("id2label")
        count = int(config.get("num_labels") or (len(named) if named else 3))
        s.linear("classification_head.dense", config.d_model, config.d_model, bias=True)
        s.linear("classification_head.out_proj", config.d_model, count, bias=True)


def _t5_plan(config: Config) -> list[Plan]:
    layers = int(config.get("num_decoder_layers") or config.num_layers)
    return [Plan(tag=i == 0 or config.model_type == "umt5") for i in range(layers)]


def _t5_attention(s: Sheet, config: Config) -> None:
    h, wide = config.d_model, config.num_heads * config.d_kv
    for name in "qkv":
        s.linear(name, h, wide)
    s.linear("o", wide, h, split="row")


def _t5_bias(s: Sheet, config: Config) -> None:
    s.embedding(
        "relative_attention_bias",
        config.relative_attention_num_buckets,
        config.num_heads,
        role="attention",
        split="replicated",
    )


def _t5_gated(config: Config) -> bool:
    return str(config.get("feed_forward_proj", "relu")).startswith("gated")


def _t5_mlp(s: Sheet, config: Config) -> None:
    for name in ("wi_0", "wi_1") if _t5_gated(config) else ("wi",):
        s.linear(name, config.d_model, config.d_ff, role="mlp")
    s.linear("wo", config.d_ff, config.d_model, split="row", role="mlp")


def _t5_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    own = sheet.at("layer.0.SelfAttention", "attention")
    _t5_attention(own, config)
    if plan.tag:
        _t5_bias(own, config)
    _t5_attention(sheet.at("layer.1.EncDecAttention", "attention"), config)
    q = int(config.num_heads)
    note_attention(sheet, plan, q=q, kv=q, dim=int(config.d_kv))
    _note_cross(config, q * int(config.d_kv))
    _t5_mlp(sheet.at("layer.2.DenseReluDense"), config)
    sheet.layer.update(
        mlp="gated" if _t5_gated(config) else "plain", intermediate_size=int(config.d_ff)
    )


def _t5_extra(config: Config, _: Plan, s: Sheet) -> None:
    if _check_class(config).endswith("ForSequenceClassification"):
        raise config.problem("the classifier of this type is not covered")
    if config.given("tie_word_embeddings") and not config["tie_word_embeddings"]:
        config.assume(
            "tie_word_embeddings is false: transformers 5 ties the head of this type all the same;"
            f" a checkpoint that holds one has {config.vocab_size * config.d_model:,} more"
        )
    e, layers = s.at("encoder"), int(config.num_layers)
    b = e.at("block.{j}", copies=layers)
    own = b.at("layer.0.SelfAttention", "attention")
    _t5_attention(own, config)
    _t5_mlp(b.at("layer.1.DenseReluDense"), config)
    for i in range(2):
        b.norm(f"layer.{i}.layer_norm", config.d_model, "rms")
    biased = layers if config.model_type == "umt5" else 1
    _t5_bias(e.at("block.{j}.layer.0.SelfAttention", "attention", copies=biased), config)
    for stack in ("encoder", "decoder"):
        s.norm(f"{stack}.final_layer_norm", config.d_model, "rms")


FAMILIES = (
    Family(
        types=("bart", "mbart", "plbart", "pegasus", "m2m_100", "marian", "blenderbot", "whisper"),
        attention=_bart_layer,
        mlp=_bart_mlp,
        plan=_bart_plan,
        norms=("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
        norm_kind="layer",
        inner="decoder.",
        last_norm="",
        head="lm_head",
        extra=_bart_extra,
        outside=_bart_outside,
    ),
    Family(
        types=("t5", "mt5", "umt5"),
        attention=_t5_layer,
        mlp={},
        plan=lambda config: [plan._replace(mlp="none") for plan in _t5_plan(config)],
        norms=("layer.0.layer_norm", "layer.1.layer_norm", "layer.2.layer_norm"),
        root="",
        embed="shared",
        stack="decoder.block",
        last_norm="",
        extra=_t5_extra,
        always_tied=True,
    ),
)
