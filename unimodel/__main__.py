"""``python -m unimodel``, the same as the command ``unimodel``."""

from unimodel.cli import main

if __name__ == "__main__":
    main()
