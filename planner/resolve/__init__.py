"""Names in a scenario become facts: models, GPUs, formats and offers as tables."""
