"""`python -m bench`: the same as `binkeeper bench`."""

from bench.cli import app

if __name__ == "__main__":
    app()
