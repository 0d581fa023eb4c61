"""Image sets and replayable views of them."""
