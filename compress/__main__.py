"""The program: the `compress` script, `python -m compress`, and what torchrun starts."""

import sys

from compress.streams import prepare


def main() -> None:
    """Run the program; an installation that cannot even be imported ends with 70, never with 1."""
    prepare()
    try:
        from compress.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - 1 is the gate's verdict, whatever is broken
        sys.stderr.write(f"error: {type(error).__name__}: {error}\n")
        sys.exit(70)
    run()


if __name__ == "__main__":
    main()
