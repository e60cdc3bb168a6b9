"""Study: selective repetition, quantile benchmarking and five phases in miniature."""
