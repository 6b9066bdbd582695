"""Output of commands, which text from elsewhere cannot steer."""
