"""Human3.6M as people have it on disk: archives, CDF and HDF5 files, masks, metadata.xml."""
