"""What models that see several views are given: rows of the multi-view label table, crops, cameras."""
