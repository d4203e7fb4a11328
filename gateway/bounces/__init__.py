"""What comes back: bounces read, counted, and acted upon."""
