"""`python -m compress`, which is also what torchrun starts."""

from compress.cli.app import main

if __name__ == "__main__":
    main()
