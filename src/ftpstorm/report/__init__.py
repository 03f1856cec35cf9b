"""From a results folder to a verdict: aggregates beside the prediction, a cause with evidence, pages and pictures."""
