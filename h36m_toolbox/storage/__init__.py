"""Files that arrive whole, locks, and pickles, npz and HDF5 files that are streamed out and read safely."""
