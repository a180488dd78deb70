"""`python -m dvr_cli` does what `dvr` does."""

from dvr_cli.app import main

if __name__ == "__main__":
    main()
