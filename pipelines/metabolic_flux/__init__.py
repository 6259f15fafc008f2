"""Metabolic states that conserve mass, drawn by a sampler and by a generative network."""
