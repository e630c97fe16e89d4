"""People in images from several data sets, in one joint convention, as integral regression learns from them."""
