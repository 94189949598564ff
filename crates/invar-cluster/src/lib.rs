//! Clustering, projection and scores over embeddings.
