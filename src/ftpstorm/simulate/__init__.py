"""A discrete-event model of a plan, and the prediction made from it before the first packet. Pure."""
