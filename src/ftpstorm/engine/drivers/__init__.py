"""Other ways to run a session than the engine's own."""
