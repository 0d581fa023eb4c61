"""Recipes installed with the package: one TOML file per published number."""
