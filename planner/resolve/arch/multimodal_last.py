"""GLM-Image, ModernVBERT, Audio Flamingo, Kimi-VL, Cohere Compass."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.multimodal.composite import Composite, vision
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import siglip, write_block, write_tower


def _glm_image(config: Config, text: Config, s: Sheet) -> None:
    """A tower over image patches and the codes that the text model writes."""
    own, vq = config.sub("vision_config"), config.sub("vq_config")
    h, p = own.hidden_size, own.patch_size
    v = s.at("visual")
    v.embedding("embeddings.position_embedding", (own.image_size // p) ** 2, h)
    v.conv("patch_embed.proj", h, own.in_channels, p, p)
    write_block(
        v.at("blocks.{j}", copies=own.depth),
        h,
        own.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        qkv_bias=bool(own.get("attention_bias")),
        out_bias=bool(own.get("attention_bias")),
        norms=("norm1", "norm2"),
    )
    q = s.booked("other").at("vqmodel")
    q.embedding("quantize.embedding", vq.num_embeddings, vq.embed_dim)
    q.conv("quant_conv", vq.embed_dim, vq.latent_channels, 1, 1)
    q.conv("post_quant_conv", vq.latent_channels, vq.embed_dim, 1, 1)


def _modernvbert(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("vision_config")
    siglip(own, s.at("vision_model"))
    wide = own.hidden_size * int(config.pixel_shuffle_factor) ** 2
    s.linear("connector.modality_projection", wide, text.hidden_size)


def _audio_flamingo(config: Config, text: Config, s: Sheet) -> None:
    own = config.sub("audio_config")
    write_tower(own, s.at("audio_tower"))
    b = bool(config.get("projector_bias", True))
    s.linear("multi_modal_projector.linear_1", own.d_model, text.hidden_size, bias=b)
    s.linear("multi_modal_projector.linear_2", text.hidden_size, text.hidden_size, bias=b)


def _kimi_vl(config: Config, text: Config, s: Sheet) -> None:
    """MoonViT, its patches merged two by two before two matrices."""
    own = config.sub("vision_config")
    h, p = own.hidden_size, own.patch_size
    v = s.at("vision_tower")
    v.conv("patch_embed.proj", h, 3, p, p)
    v.param("patch_embed.pos_emb.weight", own.init_pos_emb_height, own.init_pos_emb_width, h)
    write_block(
        v.at("encoder.blocks.{j}", copies=own.num_hidden_layers),
        h,
        own.intermediate_size,
        attention="",
        names=("wqkv", "wo"),
        mlp_names=("fc0", "fc1"),
        norms=("norm0", "norm1"),
    )
    v.norm("encoder.final_layernorm", h, "layer")
    wide = h * own.merge_kernel_size[0] * own.merge_kernel_size[1]
    x = s.at("multi_modal_projector")
    x.norm("pre_norm", h, "layer")
    x.linear("linear_1", wide, wide, bias=True)
    x.linear("linear_2", wide, text.hidden_size, bias=True)


LAST_COMPOSITES = (
    Composite(types=("glm_image",), parts=_glm_image, tie="text"),
    Composite(types=("modernvbert",), parts=_modernvbert, text_root="model.text_model"),
    Composite(types=("audioflamingo3",), parts=_audio_flamingo, tie="either"),
    Composite(
        types=("kimi_vl",),
        parts=_kimi_vl,
        text_root="language_model.model",
        head="language_model.lm_head",
        prefix="",
        tie="text",
    ),
    Composite(types=("cohere_compass",), parts=vision("visual")),
)
