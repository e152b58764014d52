"""The whole product, started as a person starts it and used from outside. Reads like a manual."""
