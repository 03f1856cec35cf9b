"""The load: arrivals become sessions, sessions become records. Knows nothing of limits, predictions or reports."""
