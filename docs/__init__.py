"""The pages as they are written, and `docs.site`, which adds the generated ones and builds all of them."""
