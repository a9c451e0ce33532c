"""The command line: `headct COMMAND`, or `python -m headct COMMAND`.

One file for each group of commands. Only what a command's own function needs is imported, and only when it
runs, so that help and complaints about the command line come at once.
"""
