"""What an engine's profiling run feeds the towers: the largest picture or film of each family.

Engines reserve memory for the largest item a request may hold. Its size follows from the model's
config and from defaults of the processor's class, which `config.json` does not hold: they are
written down here by family, with their source. A checkpoint whose `preprocessor_config.json`
says otherwise is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from planner.resolve.arch.config import Config
from planner.resolve.facts import Encoder

EncoderRule = Callable[[Config, Config], Encoder | None]

_PLAIN: Final = 2
"""Elements of an MLP's width alive at once: its input after the activation and before."""
_GATED: Final = 3
"""Gate and up in one tensor, and their product."""
_SEPARATE_GATE: Final = 4
"""Gate, up, the activated gate and the product."""

# max_pixels of preprocessor_config.json of Qwen2-VL and Qwen2.5-VL; longest_edge of Qwen3-VL.
_QWEN2_PIXELS: Final = 12_845_056
_QWEN3_PIXELS: Final = 16_777_216
_QWEN_VIDEO_STEPS: Final = 7  # vllm/model_executor/models/qwen2_vl.py: 14 frames, two a step
# max_patches of Llama 4's and max_dynamic_patch of InternVL's image processors, the whole beside.
_LLAMA4_TILES: Final = 17
_INTERNVL_TILES: Final = 12
# size.longest_edge of GLM-4.1V's image processor, over two frames; its films: glm4_1v.py of vLLM.
_GLM_PIXELS: Final = 9_633_792 // 2
_GLM_VIDEO_TOKENS: Final = 30_000
_GEMMA4_FRAMES: Final = 32  # gemma4_mm.py of vLLM: frames, tokens of each, and marks around them
_GEMMA4_FRAME_TOKENS: Final = 70
_GEMMA4_MARKS: Final = 8
_LLAVA_NEXT_TILES: Final = 5


def qwen2_vl(config: Config, text: Config) -> Encoder:
    """Qwen2-VL and 2.5-VL: pictures by pixels, films of as many frames as the context holds."""
    own = config.sub("vision_config")
    older = own.model_type.startswith("qwen2_vl")
    width = own.embed_dim if older else own.hidden_size
    mlp = _PLAIN * int(width * own.mlp_ratio) if older else _GATED * own.intermediate_size
    tokens = _merged_tokens(own, _QWEN2_PIXELS)
    rows = tokens * own.spatial_merge_size**2
    return Encoder(
        image_tokens=tokens,
        image_rows=rows,
        video_step_tokens=tokens,
        video_step_rows=rows,
        video_max_tokens=tokens * _QWEN_VIDEO_STEPS,
        hidden_size=width,
        mlp_elements=mlp,
        pixel_elements=_patch_elements(own),
        output_elements=text.hidden_size,
    )


def qwen3_vl(config: Config, text: Config) -> Encoder:
    """Qwen3-VL to 3.6: films are no larger than pictures; features of deeper layers are kept."""
    own = config.sub("vision_config")
    tokens = _merged_tokens(own, _QWEN3_PIXELS)
    deep = len(own.get("deepstack_visual_indexes", []))
    return Encoder(
        image_tokens=tokens,
        image_rows=tokens * own.spatial_merge_size**2,
        hidden_size=own.hidden_size,
        mlp_elements=_PLAIN * own.intermediate_size,
        pixel_elements=_patch_elements(own),
        output_elements=text.hidden_size * (1 + deep),
    )


def _merged_tokens(own: Config, pixels: int) -> int:
    """Tokens of a picture of so many pixels: squares of merged patches."""
    return int(pixels // (own.patch_size * own.spatial_merge_size) ** 2)


def _patch_elements(own: Config) -> int:
    channels = own.first("in_channels", "in_chans", "num_channels", default=3)
    return int(channels * (own.get("temporal_patch_size") or 1) * own.patch_size**2)


def glm4v(config: Config, text: Config) -> Encoder:
    """GLM-4.1V to 4.6V: pictures by pixels, films of 30,000 tokens."""
    own = config.sub("vision_config")
    tokens, merged = _merged_tokens(own, _GLM_PIXELS), own.spatial_merge_size**2
    return Encoder(
        image_tokens=tokens,
        image_rows=tokens * merged,
        video_step_tokens=tokens,
        video_step_rows=tokens * merged,
        video_max_tokens=_GLM_VIDEO_TOKENS,
        video_reserved_tokens=tokens,
        hidden_size=own.hidden_size,
        mlp_elements=_GATED * own.out_hidden_size,
        pixel_elements=_patch_elements(own),
        output_elements=text.hidden_size,
    )


def gemma3(config: Config, text: Config) -> Encoder:
    """Gemma 3: pictures of one size."""
    own = config.sub("vision_config")
    return Encoder(
        image_tokens=config.mm_tokens_per_image,
        image_rows=(own.image_size // own.patch_size) ** 2,
        hidden_size=own.hidden_size,
        mlp_elements=_PLAIN * own.intermediate_size,
        pixel_elements=3 * own.patch_size**2,
        output_elements=text.hidden_size,
    )


def gemma4(config: Config, text: Config) -> Encoder | None:
    """Gemma 4: pictures of one budget of tokens, films of 32 small frames.

    Each patch looks its position up by a product with a one-hot row over two tables of positions:
    64-bit, and once more in 16 bits (Gemma4VisionPatchEmbedder of transformers).
    """
    if not config.has_sub("vision_config"):
        return None
    own = config.sub("vision_config")
    pooled = own.pooling_kernel_size**2
    frame = _GEMMA4_FRAME_TOKENS
    film = _GEMMA4_FRAMES * (frame + _GEMMA4_MARKS)
    return Encoder(
        image_tokens=own.default_output_length,
        image_rows=own.default_output_length * pooled,
        video_step_tokens=film,
        video_step_rows=_GEMMA4_FRAMES * frame * pooled,
        video_max_tokens=film,
        hidden_size=own.hidden_size,
        mlp_elements=_SEPARATE_GATE * own.intermediate_size,
        pixel_elements=3 * own.patch_size**2,
        output_elements=text.hidden_size,
        position_bytes=2 * own.position_embedding_size * (8 + 2),
    )


def pixtral(config: Config, text: Config) -> Encoder:
    """Mistral Small 3.1 and later: square pictures of the largest size."""
    own = config.sub("vision_config")
    side = own.image_size // (own.patch_size * config.spatial_merge_size)
    return Encoder(
        image_tokens=side**2,
        image_rows=side**2 * config.spatial_merge_size**2,
        hidden_size=own.hidden_size,
        mlp_elements=_GATED * own.intermediate_size,
        pixel_elements=own.num_channels * own.patch_size**2,
        output_elements=text.hidden_size,
    )


def llama4(config: Config, text: Config) -> Encoder:
    """Llama 4: sixteen tiles and the whole picture once more."""
    own = config.sub("vision_config")
    patches = (own.image_size // own.patch_size) ** 2
    return Encoder(
        image_tokens=_LLAMA4_TILES * round(patches * own.pixel_shuffle_ratio**2),
        image_rows=_LLAMA4_TILES * (patches + 1),
        hidden_size=own.hidden_size,
        mlp_elements=_PLAIN * own.intermediate_size,
        pixel_elements=own.num_channels * own.patch_size**2,
        output_elements=text.hidden_size,
    )


def internvl(config: Config, text: Config) -> Encoder:
    """InternVL: tiles and the whole picture; films of as many frames as the context holds.

    A film needs a text model whose tokenizer has a mark for it (Qwen, gpt-oss).
    """
    own = config.sub("vision_config")
    image, patch = _side(own.image_size), _side(own.patch_size)
    patches = (image // patch) ** 2
    tokens = round(patches * config.downsample_ratio**2)
    tiles = int(config.get("max_dynamic_patch") or _INTERNVL_TILES)
    tiles += 1 if config.get("use_thumbnail", True) and tiles > 1 else 0
    films = text.model_type.startswith(("qwen", "gpt_oss"))
    return Encoder(
        image_tokens=tiles * tokens,
        image_rows=tiles * (patches + 1),
        video_step_tokens=tokens if films else 0,
        video_step_rows=(patches + 1) if films else 0,
        video_max_tokens=_UNLIMITED if films else 0,
        video_reserved_tokens=tiles * tokens,
        hidden_size=own.hidden_size,
        mlp_elements=_PLAIN * own.intermediate_size,
        pixel_elements=3 * patch**2,
        output_elements=text.hidden_size,
    )


_UNLIMITED: Final = 1 << 40


def _side(value: int | list[int]) -> int:
    return value[0] if isinstance(value, list) else value


def llava(config: Config, text: Config) -> Encoder:
    """LLaVA: one picture of the tower's size; LLaVA-NeXT: four tiles and the whole."""
    own = config.sub("vision_config")
    patches = (_side(own.image_size) // _side(own.patch_size)) ** 2
    tiles = _LLAVA_NEXT_TILES if config.model_type == "llava_next" else 1
    return Encoder(
        image_tokens=tiles * patches,
        image_rows=tiles * (patches + 1),
        hidden_size=own.hidden_size,
        mlp_elements=_PLAIN * own.intermediate_size,
        pixel_elements=3 * _side(own.patch_size) ** 2,
        output_elements=text.hidden_size,
    )
