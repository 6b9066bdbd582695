"""Generated from proto/fetchml/v1 by `make proto`. Never edit."""
