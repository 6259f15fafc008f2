"""Metabolic states that conserve mass, drawn by a sampler and by a generative network.

``network`` holds stoichiometry and bounds, from an SBML file by ``sbml`` or generated;
``environment`` makes conditions of it, and ``programs`` asks linear programs about them: optima,
ranges, bounds without loops. ``space`` rounds the flux space of a condition, ``hit_and_run`` walks
in it, ``convergence`` judges the chains, and ``data`` writes states of all conditions out of core.
``frame`` gives all spaces coordinates of one meaning, ``mirror`` those in which every vector keeps
all bounds. ``tables``, ``inputs`` and ``kernel`` are the compiled autoencoder, ``model`` declares
it to ooc, ``train`` trains its forms, ``peers`` the same in PyTorch. ``generate`` draws from
networks and Gaussians, ``reweigh`` puts densities right, ``scores`` judges, ``design`` ranks for a
product; ``optgp`` runs cobrapy's sampler, ``genome_scale`` measures a large network in a fresh
process.
"""
