"""Rounds of federated training, which Invar merges."""
