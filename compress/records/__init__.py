"""What was measured: facts with their units, in and out of JSON."""
