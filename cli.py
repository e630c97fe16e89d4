"""The door of a checkout: `python cli.py extract ...` is `h36m extract ...`."""

from h36m_toolbox.cli import main

if __name__ == "__main__":
    main()
