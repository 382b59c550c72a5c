"""The facts record of a model: every parameter tensor and every decoder layer.

One record is made once per model, by the config reader, from checkpoint headers, or from the real
class on the meta device. Everything else that the planner knows about a model (counts by role,
LoRA sizes, weights per format and rank, KV bytes per token) is derived from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Role = Literal[
    "embedding",
    "lm_head",
    "attention",
    "mixer",
    "mlp",
    "routed_experts",
    "shared_experts",
    "router",
    "norm",
    "multimodal",
    "other",
]
ROLES: tuple[Role, ...] = (
    "embedding",
    "lm_head",
    "attention",
    "mixer",
    "mlp",
    "routed_experts",
    "shared_experts",
    "router",
    "norm",
    "multimodal",
    "other",
)
TensorKind = Literal["linear", "experts", "embedding", "norm", "bias", "conv", "other"]
Split = Literal["column", "row", "kv", "vocab", "experts", "replicated"]
Mixer = Literal[
    "full",
    "sliding",
    "chunked",
    "mla",
    "mamba1",
    "mamba2",
    "gated_delta",
    "linear",
    "conv",
    "rglru",
    "cross",
    "none",
]
Mlp = Literal["gated", "plain", "moe", "none"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Parameters of one name and shape, held once by each of the decoder layers in `layers`.

    Attributes:
        name: state-dict name with `{i}` for the decoder layer and `{j}` for a block of a tower,
            such as `model.layers.{i}.self_attn.q_proj.weight`.
        shape: as the real class stores it: `(out, in)` for nn.Linear, `(in, out)` for Conv1D of
            gpt2, `(experts, out, in)` for fused experts.
        role: what the count is booked under.
        kind: `linear` is the weight of an nn.Linear (or Conv1D), what k-bit loaders quantise and
            what LoRA's all-linear adapts; `experts` a fused three-dimensional expert weight.
        split: how tensor parallelism cuts it. `column` by output rows, `row` by input columns,
            `kv` by key-value heads (a rank keeps at least one head), `vocab` by vocabulary rows
            (padded), `experts` by each expert's inner width, or by expert under expert
            parallelism.
        layers: decoder layers that hold it; empty for one outside the stack.
        copies: how many of it outside the stack (blocks of a vision tower); 1 in the stack.
        in_features, out_features: of a linear or of one expert; 0 for other kinds.
        tied: shares storage with another tensor: counted nowhere, still adapted by LoRA.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    kind: TensorKind
    split: Split = "replicated"
    layers: tuple[int, ...] = ()
    copies: int = 1
    in_features: int = 0
    out_features: int = 0
    tied: bool = False

    @property
    def numel(self) -> int:
        """Elements of one copy."""
        return math.prod(self.shape)

    @property
    def count(self) -> int:
        """How many tensors of this shape the model holds."""
        return max(len(self.layers), self.copies)

    @property
    def parameters(self) -> int:
        """Elements over all copies; 0 where the storage belongs to another tensor."""
        return 0 if self.tied else self.numel * self.count

    @property
    def module(self) -> str:
        """Module path without the parameter's own name."""
        return self.name.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        """Last part of the module path (`q_proj`), the name that LoRA targets match."""
        return self.module.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one decoder layer computes, caches and keeps, in elements at tensor parallelism 1.

    Attributes:
        mixer: how tokens meet: attention kind or recurrent kind. A layer with attention and a
            recurrent part side by side names the attention kind and has state elements too.
        window_tokens: tokens a sliding or chunked layer keeps; None for all.
        num_attention_heads, num_key_value_heads, head_dim, v_head_dim: 0 without attention.
        kv_elements_per_token: K plus V cached for each token (MLA: kv_lora_rank +
            qk_rope_head_dim); 0 for stateless, recurrent and KV-sharing layers.
        kv_expanded_elements_per_token: the same in an engine that does not know MLA.
        indexer_elements_per_token: key cache of a sparse-attention indexer.
        kv_shared: reads another layer's cache.
        conv_state_elements, ssm_state_elements: constant state per sequence (the convolution with
            kernel_size columns as transformers stores it).
        qk_norm, softcap, attention_bias: features that change what training saves.
        fused_qkv, fused_gate_up: one projection where others have three or two.
        mlp: dense gated (three matrices), plain (two), mixture of experts, or none.
        intermediate_size: width of the dense MLP; 0 in MoE layers without a dense part.
        num_experts, num_experts_per_tok, moe_intermediate_size: routed experts.
        shared_intermediate_size: summed width of the shared experts.
        norms: how many hidden-size norms the layer applies; layer_norm: mean-subtracting ones.
        parallel_residual: attention and MLP read the same normalised input (gpt-j, falcon).
        norm_weight_fp32: the norm multiplies by its weight in fp32 before it rounds (gemma).
        composed_activation: the activation function is written out in several elementwise steps
            (gelu_new), which training saves one by one.
        residual_dropout, attention_dropout: dropout that the config switches on for training.
    """

    mixer: Mixer
    window_tokens: int | None = None
    num_attention_heads: int = 0
    num_key_value_heads: int = 0
    head_dim: int = 0
    v_head_dim: int = 0
    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    kv_elements_per_token: int = 0
    kv_expanded_elements_per_token: int = 0
    indexer_elements_per_token: int = 0
    kv_shared: bool = False
    conv_state_elements: int = 0
    ssm_state_elements: int = 0
    qk_norm: bool = False
    softcap: bool = False
    attention_bias: bool = False
    fused_qkv: bool = False
    mlp: Mlp = "gated"
    fused_gate_up: bool = False
    intermediate_size: int = 0
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_intermediate_size: int = 0
    norms: int = 2
    layer_norm: bool = False
    parallel_residual: bool = False
    norm_weight_fp32: bool = False
    composed_activation: bool = False
    residual_dropout: bool = False
    attention_dropout: bool = False


@dataclass(frozen=True, slots=True)
class QuantizedModules:
    """One group of modules of a pre-quantised checkpoint that share a storage format.

    `format` is an id of the formats catalog (`fp8-block`, `awq-int4-g128`, `nvfp4`, `mxfp4`, ...);
    `tensors` are the names (with `{i}`) it applies to and `layers` restricts them where only some
    layers are quantised.
    """

    format: str
    tensors: tuple[str, ...]
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Encoder:
    """The largest picture or film that a model's vision tower takes, for engines that profile it.

    Attributes:
        image_tokens, image_rows: tokens of the text it becomes, and rows in the tower's blocks.
        video_step_tokens, video_step_rows: the same of the shortest film, a step of frames; 0
            where there are no films.
        video_max_tokens: of the longest; a film has as many steps as the context holds.
        video_reserved_tokens: context that is kept free for a picture beside the film.
        hidden_size, mlp_elements: width of the tower, and elements of a block's MLP that are alive
            at once for each row.
        pixel_elements: input of a row; output_elements: output of a token, deeper layers counted.
        position_bytes: temporary bytes a row while positions are looked up.
    """

    image_tokens: int
    image_rows: int
    hidden_size: int
    mlp_elements: int
    pixel_elements: int
    output_elements: int
    video_step_tokens: int = 0
    video_step_rows: int = 0
    video_max_tokens: int = 0
    video_reserved_tokens: int = 0
    position_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Everything the planner knows about one model. See the module's docstring."""

    model: str
    model_type: str
    architecture: str
    hidden_size: int
    vocab_size: int
    tied_embeddings: bool
    dtype: str
    max_position_embeddings: int | None
    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    source: str
    logit_softcap: bool = False
    tied_silently: bool = False
    """Tied by the default of the outer class alone, against the text part: engines that follow the
    text part hold a head of its own."""
    state_element_bytes: int | None = None
    """Width of recurrent state that the config names for engines; None where it names none."""
    rotary_table_elements: int | None = None
    """Elements of the rotary tables that vLLM makes for the model; None where it is not known."""
    quantization: tuple[QuantizedModules, ...] = ()
    quantization_method: str = ""
    stored_bytes: int | None = None
    encoder: Encoder | None = None
    """None for a model of text alone, and where the family's largest picture is not known."""
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def num_hidden_layers(self) -> int:
        """Decoder layers."""
        return len(self.layers)

    @property
    def parameters(self) -> int:
        """Unique parameters; tied ones count once."""
        return sum(tensor.parameters for tensor in self.tensors)

    def parameters_by_role(self) -> dict[Role, int]:
        """Unique parameters booked by role; every role is present."""
        counts: dict[Role, int] = dict.fromkeys(ROLES, 0)
        for tensor in self.tensors:
            counts[tensor.role] += tensor.parameters
        return counts

    @property
    def text_parameters(self) -> int:
        """Parameters outside vision, audio and projector towers."""
        return self.parameters - self.parameters_by_role()["multimodal"]

    @property
    def active_parameters(self) -> int:
        """Parameters a token meets: everything but the routed experts it is not sent to."""
        idle = 0
        for tensor in self.tensors:
            if tensor.role == "routed_experts":
                for layer in (self.layers[i] for i in tensor.layers):
                    share = tensor.numel // layer.num_experts
                    idle += share * (layer.num_experts - layer.num_experts_per_tok)
        return self.parameters - idle

    @property
    def quantisable_parameters(self) -> int:
        """Weights of the text model's linear layers outside the head, and of fused experts."""
        return sum(
            tensor.parameters
            for tensor in self.tensors
            if tensor.kind in ("linear", "experts") and tensor.role not in ("lm_head", "multimodal")
        )
