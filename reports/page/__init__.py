"""report.html, and what every page is framed by."""
