"""Layer-wise relevance propagation, tested before it is shown, and its summary inside text regions."""
