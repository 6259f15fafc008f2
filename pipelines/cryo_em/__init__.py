"""A three-dimensional structure from noisy projections, by mini-batch descent.

An image is the density's projection in a pose, times the contrast transfer function of the
microscope, shifted, plus noise. ``maps`` has densities and MRC files, ``poses`` rotations,
``optics`` the transfer function, ``projection`` and ``data`` generated images; ``slices``,
``kernel`` and ``model`` the density that is learned, ``training`` how; ``inversion`` the direct
method beside it, ``resolution`` Fourier shell correlations, ``particles`` stacks of RELION.

Where poses are not known, ``orientations`` has the grid of rotations, ``bands`` and ``cuts`` what
of images and of a density is compared, ``search`` the comparison on the grid and ``refinement``
that around a pose; ``density_sums`` is what images in poses make, ``start`` the first density,
``passes`` those over all images, ``pose_state`` what is kept of each row, ``ab_initio`` the stages
in order; ``alignment`` lays what was found over the truth, ``unknown_poses`` tells of it.
"""
