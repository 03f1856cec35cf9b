"""What will be run, with nothing left to defaults: scenario, host facts and command-line overrides in one value."""
