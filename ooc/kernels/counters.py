"""What window loops return and count: statuses, and entries of the arrays that outlive a window."""

OK = 0
BAD_TARGET = 1
NOT_FINITE = 2
BAD_WEIGHT = 3
BAD_INTEGER = 4

# A number of steps that no run comes to.
NEVER = 2**62

# Entries of the float64 totals of a model: its loss over all batches; over batches of several
# shares, their number, the sums of G1 G2 and of |G1 - G2|^2 / (1/n1 + 1/n2), of the squares of
# both and of their product, where G1 and G2 are the mean gradients over the batch's shares of even
# and of odd number; and of the last gradient that was taken over all rows its norm, and the mean
# loss. After them come the sums of the named terms of the loss, where a model has several.
LOSS_SUM, HALVED, SIGNAL, SIGNAL_SQUARES, NOISE, NOISE_SQUARES, SIGNAL_NOISE = range(7)
GRADIENT_NORM, FULL_LOSS = 7, 8
TOTALS = 9
