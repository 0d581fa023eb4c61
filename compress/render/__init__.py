"""Records turned into tables, files, plots and pages."""
