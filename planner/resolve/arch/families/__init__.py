"""Families of text decoders and encoders, by what they are made of."""
