"""The river valley in weight space, by the curvature along the moves of a run."""
