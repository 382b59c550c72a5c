"""Models with vector-quantised images, and models with querying transformers."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import patches, write_block, write_tower
from planner.resolve.arch.towers.sam import sam_neck, sam_stack
from planner.resolve.arch.towers.vit import qformer


def _resnet(s: Sheet, n_in: int, n_out: int) -> None:
    s.norm("norm1", n_in, "layer")
    s.conv("conv1", n_out, n_in, 3, 3)
    s.norm("norm2", n_out, "layer")
    s.conv("conv2", n_out, n_out, 3, 3)
    if n_in != n_out:
        s.conv("nin_shortcut", n_out, n_in, 1, 1)


def _attend(s: Sheet, width: int) -> None:
    s.norm("norm", width, "layer")
    for name in ("q", "k", "v", "proj_out"):
        s.conv(name, width, width, 1, 1)


def _middle(s: Sheet, width: int) -> None:
    _resnet(s.at("block_1"), width, width)
    _attend(s.at("attn_1"), width)
    _resnet(s.at("block_2"), width, width)


def _vq_encoder(config: Config, s: Sheet, attends: list[bool]) -> None:
    base, steps = config.base_channels, config.get("channel_multiplier") or [1, 1, 2, 2, 4]
    s.conv("conv_in", base, config.in_channels, 3, 3)
    width = base
    for level, step in enumerate(steps):
        d = s.at(f"down.{level}")
        for block in range(config.num_res_blocks):
            _resnet(d.at(f"block.{block}"), width, base * step)
            width = base * step
            if attends[level]:
                _attend(d.at(f"attn.{block}"), width)
        if level != len(steps) - 1:
            d.conv("downsample.conv", width, width, 3, 3)
    _middle(s.at("mid"), width)
    s.norm("norm_out", width, "layer")
    latent = config.latent_channels * (2 if config.get("double_latent") else 1)
    s.conv("conv_out", latent, width, 3, 3)


def _vq_decoder(config: Config, s: Sheet, attends: list[bool]) -> None:
    base, steps = config.base_channels, config.get("channel_multiplier") or [1, 1, 2, 2, 4]
    width = base * steps[-1]
    s.conv("conv_in", width, config.latent_channels, 3, 3)
    _middle(s.at("mid"), width)
    for place, level in enumerate(reversed(range(len(steps)))):
        u = s.at(f"up.{place}")
        for block in range(config.num_res_blocks + 1):
            _resnet(u.at(f"block.{block}"), width, base * steps[level])
            width = base * steps[level]
            if attends[level]:
                _attend(u.at(f"attn.{block}"), width)
        if level:
            u.conv("upsample.conv", width, width, 3, 3)
    s.norm("norm_out", width, "layer")
    s.conv("conv_out", config.out_channels, width, 3, 3)


def _codebook(config: Config, s: Sheet) -> None:
    s.embedding("quantize.embedding", config.num_embeddings, config.embed_dim)
    s.conv("quant_conv", config.embed_dim, config.latent_channels, 1, 1)
    s.conv("post_quant_conv", config.latent_channels, config.embed_dim, 1, 1)


def _janus(config: Config, text: Config, s: Sheet) -> None:
    v, q = config.sub("vision_config"), config.sub("vq_config")
    write_tower(v, s.at("vision_model"))
    s.linear("aligner.fc1", v.hidden_size, v.projection_dim, bias=True)
    for j in range(v.depth - 1):
        s.linear(f"aligner.hidden_layers.{j}", v.projection_dim, v.projection_dim, bias=True)
    # The reference counts the parts that draw images with the text.
    o = s.booked("other")
    steps = q.get("channel_multiplier") or [1, 1, 2, 2, 4]
    last = [level == len(steps) - 1 for level in range(len(steps))]
    _vq_encoder(q, o.at("vqmodel.encoder"), last)
    _codebook(q, o.at("vqmodel"))
    _vq_decoder(q, o.at("vqmodel.decoder"), last)
    o.embedding("generation_embeddings", q.num_embeddings, q.embed_dim)
    o.linear("generation_aligner.fc1", q.embed_dim, q.projection_dim, bias=True)
    for j in range(q.num_hidden_layers - 1):
        o.linear(
            f"generation_aligner.hidden_layers.{j}", q.projection_dim, q.projection_dim, bias=True
        )
    o.linear("generation_head.proj_out", q.image_token_embed_dim, q.projection_dim, bias=True)
    o.linear("generation_head.vision_head", q.projection_dim, q.num_embeddings, bias=True)


def _chameleon(config: Config, text: Config, s: Sheet) -> None:
    q = config.sub("vq_config")
    steps = q.get("channel_multiplier") or [1, 1, 2, 2, 4]
    at = set(q.get("attn_resolutions") or ())
    size = int(q.resolution)
    attends = [size // 2**level in at for level in range(len(steps))]
    o = s.booked("other")
    _vq_encoder(q, o.at("vqmodel.encoder"), attends)
    _codebook(q, o.at("vqmodel"))


def blip2_vision(config: Config, s: Sheet) -> None:
    """EVA-CLIP as BLIP-2 uses it."""
    h, p = config.hidden_size, config.patch_size
    e = s.at("embeddings")
    e.param("class_embedding", 1, 1, h)
    e.param("position_embedding", 1, patches(config) + 1, h)
    e.conv("patch_embedding", h, 3, p, p)
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        names=("qkv", "projection"),
        qkv_bias=bool(config.get("qkv_bias", True)),
    )
    s.norm("post_layernorm", h, "layer")


def _blip2(config: Config, text: Config, s: Sheet) -> None:
    blip2_vision(config.sub("vision_config"), s.at("vision_model"))
    own, o = config.sub("qformer_config"), s.booked("other")
    o.param("query_tokens", 1, config.num_query_tokens, own.hidden_size)
    qformer(own, o.at("qformer"), config.sub("vision_config").hidden_size)
    o.linear("language_projection", own.hidden_size, text.hidden_size, bias=True)


def _instructblip(config: Config, text: Config, s: Sheet) -> None:
    """BLIP-2 whose querying transformer reads the instruction too."""
    blip2_vision(config.sub("vision_config"), s.at("vision_model"))
    own, o = config.sub("qformer_config"), s.booked("other")
    h, inner, n = own.hidden_size, own.intermediate_size, own.num_hidden_layers
    o.param("query_tokens", 1, config.num_query_tokens, h)
    x = o.at("qformer")
    x.embedding("embeddings.word_embeddings", own.vocab_size, h)
    x.embedding("embeddings.position_embeddings", own.max_position_embeddings, h)
    x.norm("embeddings.layernorm", h, "layer")
    b = x.at("encoder.layer.{j}", copies=n)
    b.linear("intermediate.dense", h, inner, bias=True)
    b.linear("output.dense", inner, h, bias=True)
    b.norm("output.LayerNorm", h, "layer")
    qformer(own, x, config.sub("vision_config").hidden_size, first_norm=False)
    o.linear("language_projection", h, text.hidden_size, bias=True)


# Parameters of Emu3's image tokenizer in its published form, counted from the class of
# transformers 5.23.
EMU3_TOKENIZER = 270_740_287


def _emu3(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vq_config")
    changed = own.changed()
    if changed:
        raise own.problem(
            f"an image tokenizer with another {', '.join(changed)} is not covered; use --derive"
        )
    s.booked("other").param("vqmodel.parameters", EMU3_TOKENIZER)
    config.assume(f"the image tokenizer is counted as a whole: {EMU3_TOKENIZER:,} parameters")


def _granite4_vision(config: Config, text: Config, s: Sheet) -> None:
    """Windows of features of several layers, each through a querying transformer."""
    own, v = config.sub("qformer_config"), config.sub("vision_config")
    h, out = v.hidden_size, text.hidden_size
    s.param("image_newline", out)
    write_tower(v, s.at("vision_tower"))
    query, window = (int(side) for side in str(config.downsample_rate).split("/"))
    targets = config.get("spatial_target_layers") or ()
    stacks = [("layerwise_projectors.{j}", len(config.get("deepstack_layer_map") or ()))]
    # Four offsets of a two-by-two grid, whatever the layers that they go to.
    stacks.append(("spatial_projectors.{j}", 4 if targets else 0))
    o = s.booked("other")
    for name, copies in stacks:
        if copies:
            x = o.at(name, copies=copies)
            x.param("query", 1, query**2, h)
            x.param("image_positions", 1, window**2, h)
            qformer(own, x.at("qformer"), h, own=h)
            x.norm("norm", h, "layer")
            x.linear("out_linear", h, out, bias=True)


def _unlimited_ocr(config: Config, text: Config, s: Sheet) -> None:
    """SAM and CLIP one behind the other."""
    own, h = config.sub("vision_config"), text.hidden_size
    sam, clip = own.sub("sam_config"), own.sub("encoder_config")
    s.booked("other").param("view_separator", h)
    s.param("image_newline", h)
    a, c = s.at("vision_tower.sam_encoder"), sam.output_channels
    sam_stack(sam, a)
    sam_neck(a.at("neck"), sam.hidden_size, c)
    a.conv("proj.conv1", 2 * c, c, 3, 3, bias=False)
    a.conv("proj.conv2", 4 * c, 2 * c, 3, 3, bias=False)
    e, w = s.at("vision_tower.vision_encoder"), clip.hidden_size
    e.param("embeddings.class_embedding", w)
    e.embedding("embeddings.position_embedding", patches(clip) + 1, w)
    e.norm("pre_layrnorm", w, "layer")
    write_block(
        e.at("encoder.layers.{j}", copies=clip.num_hidden_layers), w, clip.intermediate_size
    )
    s.linear("multi_modal_projector", w + 4 * c, h, bias=True)


VQ_COMPOSITES = (
    Composite(types=("janus",), parts=_janus),
    Composite(types=("chameleon",), parts=_chameleon, text="", text_root="model"),
    Composite(
        types=("blip-2",),
        parts=_blip2,
        text_root="language_model.model",
        head="language_model.lm_head",
        prefix="",
        tie="text",
    ),
    Composite(
        types=("instructblip", "instructblipvideo"),
        parts=_instructblip,
        text_root="language_model.model",
        head="language_model.lm_head",
        prefix="",
        tie="text",
    ),
    Composite(types=("emu3",), parts=_emu3, text_root="model.text_model", text_class=True),
    Composite(types=("granite4_vision",), parts=_granite4_vision),
    Composite(types=("unlimited_ocr",), parts=_unlimited_ocr),
)
