"""The pages under docs/ that are made from the code: scenario keys, errors, causes, and the options of each command."""
