"""What the lists had: reading, searching, taking out and bringing in."""
