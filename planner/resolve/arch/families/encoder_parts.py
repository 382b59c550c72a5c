"""What encoder families are made of: tables of positions, heads by class, shared layers."""

from __future__ import annotations

from typing import Final

from planner.resolve.arch.attention import gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import depth
from planner.resolve.arch.mlp import gated, plain
from planner.resolve.arch.sheet import Block, Plan, Sheet, flag

ENDINGS: Final = {
    "ForMaskedLM": "masked",
    "LMHeadModel": "masked",
    "ForCausalLM": "masked",
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "ForQuestionAnswering": "question",
    "Model": "base",
}


def ending(config: Config) -> str:
    """What the class named in the file puts on the encoder; the masked head where none is named."""
    names = config.whole.get("architectures") or config.get("architectures") or [""]
    name = str(names[0])
    if not name:
        config.assume("no class is named: the encoder is counted with its masked-language head")
        return "masked"
    for suffix, kind in ENDINGS.items():
        if name.endswith(suffix):
            return kind
    raise config.problem(f"the head of class '{name}' is not covered; --derive may read it")


def masked(config: Config) -> bool:
    """Whether the language-model head is there."""
    return ending(config) == "masked"


def labels(config: Config) -> int:
    """Classes that a classifier tells apart; transformers takes two where a file is silent."""
    named = config.get("id2label")
    return int(config.get("num_labels") or (len(named) if named else 2))


def uncached(block: Block) -> Block:
    """Attention over the whole input at once, which keeps no cache."""

    def wrapped(config: Config, plan: Plan, sheet: Sheet) -> None:
        block(config, plan, sheet)
        sheet.layer["kv_elements_per_token"] = 0

    return wrapped


def word_table(config: Config, _: Plan, s: Sheet, *, normed: bool = True) -> None:
    """Positions, segments and the norm beside the word embedding."""
    e = s.at("embeddings", "embedding")
    width = int(config.get("embedding_size") or config.hidden_size)
    if config.get("position_biased_input", True):
        e.embedding(
            "position_embeddings", config.max_position_embeddings, width, split="replicated"
        )
    if config.get("type_vocab_size"):
        e.embedding("token_type_embeddings", config.type_vocab_size, width, split="replicated")
    if normed:
        e.norm("LayerNorm", width, "layer")
    if width != config.hidden_size:
        e.linear("projection", width, config.hidden_size, bias=True, role="other")


def encoder_head(
    *,
    transform: str = "cls.predictions.transform.",
    pooled: tuple[str, ...] = ("base", "sequence"),
    dense: tuple[str, ...] = (),
    norm: str = "LayerNorm",
    bias: bool = True,
    norm_kind: str = "layer",
    activated: tuple[str, ...] = (),
) -> Block:
    """What stands on the encoder: a masked head's transform, a pooler, or a classifier.

    `pooled` are the endings that keep the base model's pooler, `dense` those whose classifier has
    a dense layer of its own, `activated` those where that layer is the masked head's.
    """

    def block(config: Config, _: Plan, s: Sheet) -> None:
        h, kind = config.hidden_size, ending(config)
        width = int(config.get("embedding_size") or h)
        if kind == "masked" or kind in activated:
            s.linear(f"{transform}dense", h, width, bias=bias)
            s.norm(f"{transform}{norm}", width, norm_kind)
        if kind in pooled:
            s.linear("pooler.dense", h, h, bias=True)
        if kind in dense:
            s.linear("classifier.dense", h, h, bias=True)
        if kind in ("sequence", "token"):
            s.linear("classifier.out_proj", h, labels(config), bias=True)
        if kind == "question":
            s.linear("qa_outputs", h, 2, bias=True)

    return block


def bert_like(
    types: tuple[str, ...],
    head: Block,
    *,
    names: tuple[str, str, str, str] = ("self.query", "self.key", "self.value", "output.dense"),
    norms: tuple[str, ...] = ("attention.output.LayerNorm", "output.LayerNorm"),
    root: str = "bert",
    extra: Block = word_table,
    last_norm: str = "",
    attention: Block | None = None,
) -> Family:
    """A family of BERT's shape."""
    width = "embedding_size" if types[0] == "electra" else "hidden_size"
    return Family(
        types=types,
        attention=attention or uncached(gqa(scope="attention", names=names, bias=True)),
        mlp=plain("intermediate.dense", "output.dense", scope="", bias=True),
        norms=norms,
        norm_kind="layer",
        root=root,
        embed="embeddings.word_embeddings",
        embed_width=width,
        stack="encoder.layer",
        last_norm=last_norm,
        head="cls.predictions.decoder",
        head_bias=masked,
        has_head=masked,
        extra=extra,
        outside=head,
    )


def deberta_extra(config: Config, plan: Plan, s: Sheet) -> None:
    """Embeddings of relative positions, their norm, and the convolution of the larger ones."""
    word_table(config, plan, s)
    if not config.get("relative_attention"):
        return
    h, buckets = config.hidden_size, int(config.get("position_buckets") or -1)
    span = int(config.get("max_relative_positions") or -1)
    span = config.max_position_embeddings if span < 1 else span
    rows = 2 * (buckets if buckets > 0 else span)
    x = s.at("encoder", "attention")
    x.embedding("rel_embeddings", rows, h, split="replicated")
    if "layer_norm" in str(config.get("norm_rel_ebd", "")):
        x.norm("LayerNorm", h, "layer")
    kernel = int(config.get("conv_kernel_size") or 0)
    if kernel > 0:
        x.conv("conv.conv", h, h // int(config.get("conv_groups") or 1), kernel)
        x.norm("conv.LayerNorm", h, "layer")


def deberta_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Disentangled attention; positions have projections of their own unless they share."""
    names = ("self.query_proj", "self.key_proj", "self.value_proj", "output.dense")
    uncached(gqa(scope="attention", names=names, bias=True))(config, plan, sheet)
    if not config.get("relative_attention") or config.get("share_att_key"):
        return
    h, kinds = config.hidden_size, config.get("pos_att_type") or []
    s = sheet.at("attention.self", "attention")
    if "c2p" in kinds:
        s.linear("pos_key_proj", h, h, bias=True)
    if "p2c" in kinds:
        s.linear("pos_query_proj", h, h, bias=True)


def mpnet_extra(config: Config, plan: Plan, s: Sheet) -> None:
    word_table(config, plan, s)
    rows = int(config.get("relative_attention_num_buckets") or 32)
    s.embedding(
        "encoder.relative_attention_bias",
        rows,
        config.num_attention_heads,
        role="attention",
        split="replicated",
    )


def shared_layers(config: Config) -> list[Plan]:
    """ALBERT: layers of one group use the weights of its first."""
    n, groups = depth(config), int(config.get("num_hidden_groups") or 1)
    first = {g * n // groups for g in range(groups)}
    return [Plan(tag=i not in first) for i in range(n)]


def sharing(block: Block) -> Block:
    def wrapped(config: Config, plan: Plan, sheet: Sheet) -> None:
        block(config, plan, sheet.shared() if plan.tag else sheet)

    return wrapped


def albert_norms(config: Config, plan: Plan, sheet: Sheet) -> None:
    s = sheet.shared() if plan.tag else sheet
    for name in ("attention.LayerNorm", "full_layer_layer_norm"):
        s.norm(name, config.hidden_size, "layer")
    sheet.layer["norms"] = 2


def modern_plan(config: Config) -> list[Plan]:
    """Every third layer attends to all; the first has no norm before its attention."""
    step, span = int(config.get("global_attn_every_n_layers") or 3), config.get("local_attention")
    listed = config.get("layer_types")
    plans = []
    for i in range(depth(config)):
        local = listed[i] == "sliding_attention" if listed else i % step != 0
        plans.append(Plan("sliding" if local else "full", span if local else None, tag=i == 0))
    return plans


def modern_kind(config: Config) -> str:
    """ModernBERT's norms have a bias or none."""
    return "layer" if config.get("norm_bias") else "layer_nobias"


def modern_head(config: Config, _: Plan, s: Sheet) -> None:
    h, kind = config.hidden_size, ending(config)
    if kind != "base":
        s.linear("head.dense", h, h, bias=flag(config, "classifier_bias"))
        s.norm("head.norm", h, modern_kind(config))
    if kind in ("sequence", "token"):
        s.linear("classifier", h, labels(config), bias=True)
    if kind == "question":
        s.linear("classifier", h, 2, bias=True)


def gated_encoder(types: tuple[str, ...], head: Block, *, bias: bool, down_bias: bool) -> Family:
    return Family(
        types=types,
        attention=uncached(gqa(bias=bias)),
        mlp=gated(extra=_down_bias if down_bias else None),
        norms=("post_attention_layernorm", "post_mlp_layernorm"),
        norm_kind="layer",
        root=types[0],
        embed="embeddings.word_embeddings",
        last_norm="",
        head="cls.predictions.decoder",
        head_bias=masked,
        has_head=masked,
        always_tied=True,
        extra=rotary_table,
        outside=head,
    )


def _down_bias(config: Config, _: Plan, s: Sheet) -> None:
    s.param("down_proj.bias", config.hidden_size, kind="bias")


def rotary_table(config: Config, _: Plan, s: Sheet) -> None:
    """Segments and the norm beside the word embedding; positions are rotary."""
    if config.first("num_experts", "moe_every_n_layers"):
        raise config.problem("an encoder with experts is not covered")
    e = s.at("embeddings", "embedding")
    if config.get("type_vocab_size"):
        e.embedding(
            "token_type_embeddings", config.type_vocab_size, config.hidden_size, split="replicated"
        )
    e.norm("LayerNorm", config.hidden_size, "layer")
