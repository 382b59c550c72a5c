"""Families of text models, by what they are made of; `known` finds one by its model type.

- dense: `dense` (Llama's block), `dense_norms`, `dense_plain`, `dense_fused`, `per_layer`, and by
  line `cohere`, `gemma`, `glm`, `gpt`, `bloom_falcon`, `opt`
- mixtures of experts: `moe` (in every layer), `moe_dense_first`, `moe_spaced`, `moe_attention`,
  `moe_latent`
- latent and sparse attention: `mla`, `sparse_attention`, `deepseek_v4`, `kimi`
- recurrent, and hybrids: `mamba`, `zamba`, `linear_attention`, `short_conv`, `ngram`, `rwkv_xlstm`
- `encoder`, over the parts in `encoder_parts`; encoder-decoders in `seq2seq`
"""
