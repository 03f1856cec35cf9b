"""One run, conducted: the supervisor in front, the conductor inside, children started, bounded and buried."""
