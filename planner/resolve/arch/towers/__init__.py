"""Vision and audio encoders."""
