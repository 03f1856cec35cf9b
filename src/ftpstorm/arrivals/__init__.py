"""When sessions are due: schedules as pure functions of their index, and their division over shards."""
