"""What stops Binkeeper from starting, told in one line that says what to do next."""


class StartError(Exception):
    """Nothing runs and no data was changed; the message is one line for the person who typed the command."""
