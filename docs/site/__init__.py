"""The site: written pages are staged, the reference is generated from the code, and the built pages are checked to load nothing."""
