"""Users of FetchML whose jobs belong to accounts of their own."""
