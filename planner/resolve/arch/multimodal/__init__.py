"""Models of several modalities: what stands beside their text model."""
