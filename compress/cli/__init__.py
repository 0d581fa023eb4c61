"""The command line: flags in, one stage called, its record rendered."""
