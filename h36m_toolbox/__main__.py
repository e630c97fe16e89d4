"""`python -m h36m_toolbox`, the same as `h36m`."""

from h36m_toolbox.cli import main

if __name__ == "__main__":
    main()
