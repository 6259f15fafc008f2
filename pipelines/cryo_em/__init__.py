"""A three-dimensional structure from noisy projections, by mini-batch descent.

An image is the density's projection in a pose, times the contrast transfer function of the
microscope, shifted, plus noise. ``maps`` has densities and MRC files, ``poses`` rotations,
``optics`` the transfer function, ``projection`` and ``data`` generated images; ``slices``,
``kernel`` and ``model`` the density that is learned, ``training`` how; ``inversion`` the direct
method beside it, ``resolution`` Fourier shell correlations, ``particles`` stacks of RELION.
"""
