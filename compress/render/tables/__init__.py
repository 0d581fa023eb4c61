"""Rich tables, one module per command."""
