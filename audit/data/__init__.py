"""Images, their records and what is known of them."""
