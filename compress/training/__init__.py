"""The training loop and everything its state consists of."""
