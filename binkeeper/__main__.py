"""`python -m binkeeper` is the same as `binkeeper`."""

from binkeeper.cli import app

if __name__ == "__main__":
    app()
