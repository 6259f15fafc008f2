"""What people hold in their hands, as datasets: objects of Zarr, xarray, Dask and AnnData."""
