"""The local pages of ``thalweg web``: atlas, runs, designer and planner, each section a module with its routes."""
