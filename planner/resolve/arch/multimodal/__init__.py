"""Models of several modalities: what stands beside their text model, and how it is joined.

By kind of projector: `llava` (two matrices), `one_matrix`, `merged_patches`, `queries`,
`vector_quantised`; by line: `deepseek_vl`, `gemma`, `idefics`, `kimi`, `minicpm`, `muse`, `phi`,
`qwen_glm`; by what they read: `audio`, `ocr`. `known` finds one by its model type, `texts` its text
model.
"""
