"""Pages: the report of the main job, the atlas of studies, and the figures they share with the command line."""
