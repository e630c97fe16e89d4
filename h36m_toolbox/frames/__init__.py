"""Videos to frames, loose or packed, whole, undistorted or cropped; and the one reader of them."""
