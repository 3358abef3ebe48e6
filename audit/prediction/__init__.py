"""The network's predictions under every condition, collected in a table."""
