"""What is there, missing, damaged or known to be bad."""
