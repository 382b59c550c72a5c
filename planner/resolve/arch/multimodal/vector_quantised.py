"""Models whose images are words of a codebook: Janus, Chameleon, Emu3."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.known import write_tower


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


def codebook(config: Config, s: Sheet) -> None:
    """The words that an image is written in, and the way there and back."""
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
    codebook(q, o.at("vqmodel"))
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
    codebook(q, o.at("vqmodel"))


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


COMPOSITES = (
    Composite(types=("janus",), parts=_janus),
    Composite(types=("chameleon",), parts=_chameleon, text="", text_root="model"),
    Composite(types=("emu3",), parts=_emu3, text_root="model.text_model", text_class=True),
)
