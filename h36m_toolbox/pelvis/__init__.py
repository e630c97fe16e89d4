"""Where the pelvis is: triangulated, predicted, or from an official results pickle."""
