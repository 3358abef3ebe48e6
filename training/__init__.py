"""The training chain of Bassi & Attux (2021), and synthetic radiographs to run it on."""
