"""Weather with xarray, xbatcher and PyTorch: python xbatcher_torch.py DATA.zarr

Batches of 256 times in a random order, means and spreads of the training years by xarray, Adam
with a falling rate.
"""

import sys

import torch
import xarray
import xbatcher
from xbatcher.loaders.torch import MapDataset

EPOCHS, BATCH = 5, 256
names = ["t2m", "d2m", "msl", "u10", "v10"]
weather = xarray.open_zarr(sys.argv[1])
last = weather.sizes["time"] - round(0.2 * weather.sizes["time"])
train, held_out = weather.isel(time=slice(0, last)), weather.isel(time=slice(last, None))
mean, spread = (getattr(train[names], how)("time").compute() for how in ("mean", "std"))
center, scale = (float(getattr(train["demand"], how)()) for how in ("mean", "std"))


def tensor(batch):
    return (
        torch.from_numpy(batch.to_dataarray("field").transpose("time", ...).values)
        .float()
        .flatten(1)
    )


def loader(data, shuffle):
    size = {"time": BATCH}
    rows = xbatcher.BatchGenerator((data[names] - mean) / spread, size, preload_batch=False)
    targets = xbatcher.BatchGenerator(data["demand"], size, preload_batch=False)
    dataset = MapDataset(rows, targets, transform=tensor)
    return torch.utils.data.DataLoader(dataset, batch_size=None, shuffle=shuffle)


torch.manual_seed(0)
model = torch.nn.Linear(sum(train[name][0].size for name in names), 1)
torch.nn.init.zeros_(model.weight)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
steps = EPOCHS * (last // BATCH)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
for _ in range(EPOCHS):
    for rows, targets in loader(train, True):
        loss = torch.nn.functional.mse_loss(model(rows)[:, 0], (targets - center) / scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
errors, spreads, count = 0.0, [], 0
with torch.no_grad():
    for rows, targets in loader(held_out, False):
        errors += float(((center + scale * model(rows)[:, 0] - targets) ** 2).sum())
        spreads.append(targets)
targets = torch.cat(spreads)
print(f"r2 {1 - errors / float(((targets - targets.mean()) ** 2).sum()):.4f}")
