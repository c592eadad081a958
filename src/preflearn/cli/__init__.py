"""The command line: one small file per verb. Nothing is imported here, so that starting up costs nothing."""
