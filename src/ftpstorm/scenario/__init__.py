"""What a user asks for: the frozen models of a scenario file, and the loader that reads YAML into them."""
