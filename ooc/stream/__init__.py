"""From a dataset to batches: order, plan, reader, loader; sampling, splits, mixing."""
