"""Teach a small image classifier from a big one, and prove it on the device it ships to."""
