"""Launcher for a checkout: `python cli.py distill …` is `compress distill …`."""

from compress.cli.app import main

if __name__ == "__main__":
    main()
