"""Other programs for the same work, each beside FetchML in rounds of one run."""
