"""The labels of every layout that the field's code reads, written and read back."""
