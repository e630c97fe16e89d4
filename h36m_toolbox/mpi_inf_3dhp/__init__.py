"""MPI-INF-3DHP (Mehta et al. 2017): its archive, annotations, cameras, label table, traded npz files and frames."""
