"""Launcher for a checkout: `python cli.py distill …` is `compress distill …`."""

from compress.__main__ import main

if __name__ == "__main__":
    main()
