"""What was asked: one frozen model per command, and the recipes that fill it."""
