"""Vision and audio encoders, by their shape; `known` finds one by the model type of its config."""
