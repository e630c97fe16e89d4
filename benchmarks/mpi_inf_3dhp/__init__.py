"""The official evaluation of MPI-INF-3DHP, and the ways in which papers depart from it."""
