"""What window loops return and count: statuses, and entries of the arrays that outlive a window."""

OK = 0
BAD_TARGET = 1
NOT_FINITE = 2

# A number of steps that no run comes to.
NEVER = 2**62

# Entries of the int64 counters: steps taken, rows of the batch and of the tile at hand, rows of
# all batches, the row that cannot be used, and the first place of the window not used yet.
STEP, IN_BATCH, IN_TILE, ROWS, BAD_ROW, PLACE = range(6)
COUNTERS = 6

# Entries of the float64 totals of a model: its loss over all batches and over the one at hand;
# over batches that can be halved, their number, the sums of G1 G2 and of |G1 - G2|^2 / (1/n1 +
# 1/n2), of the squares of both and of their product, where G1 and G2 are the mean gradients of
# the halves; and of the last gradient that was taken over all rows its norm, and the mean loss.
LOSS_SUM, BATCH_LOSS, HALVED, SIGNAL, SIGNAL_SQUARES, NOISE, NOISE_SQUARES, SIGNAL_NOISE = range(8)
GRADIENT_NORM, FULL_LOSS = 8, 9
TOTALS = 10
