"""The composition root: settings, the command line, and the launcher that starts every process.

It names concrete adapters and embedded servers so that nothing below it has to.
"""
