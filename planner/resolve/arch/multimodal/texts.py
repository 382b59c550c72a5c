"""Where the text model of a multimodal config is described."""

from __future__ import annotations

from planner.resolve.arch.config import Config, class_table
from planner.resolve.arch.multimodal.composite import Composite


def text_config(config: Config, composite: Composite) -> Config:
    """The text model's config of a multimodal one; a flat file's own fields where it is flat."""
    if not composite.text:
        return flat_text(config)
    if composite.flat and not config.given(composite.text):
        own = config.sub(composite.text)
        return own.overlaid(config)
    return config.sub(composite.text)


FLAT_TEXTS = {
    "phi3_v": "phi3",
    "phi4_multimodal": "phi3",
    "chameleon": "chameleon_text",
    "idefics": "idefics_text",
}


MINICPMV_TEXTS = {"2.5": "llama", "2.6": "qwen2", "4.0": "llama", "4.5": "qwen3"}


def flat_text(config: Config) -> Config:
    """The text model of a config that has no nested one and names no text type."""
    kind = FLAT_TEXTS.get(config.model_type, "")
    if config.model_type == "minicpmv":
        version = str(config.get("version", ""))
        kind = MINICPMV_TEXTS.get(version, "")
        if not kind:
            raise config.problem(f"the text model of MiniCPM-V version '{version}' is not known")
    config.assume(f"the text model is read as type '{kind}'")
    fields = {name: config[name] for name in config if name not in ("model_type", "vision_config")}
    types = class_table()[0]
    return Config(fields, types.get(kind, types[config.model_type]), parent=config, model_type=kind)
