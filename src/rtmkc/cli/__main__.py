"""`python -m rtmkc.cli` is the command `rtmkc`."""

from rtmkc.cli import main

if __name__ == "__main__":
    main()
