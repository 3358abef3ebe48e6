"""Gates: rules that effects are compared with."""
