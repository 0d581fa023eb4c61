"""The classifiers, by name, and their weight files."""
