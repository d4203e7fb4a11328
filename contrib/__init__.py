"""What belongs to a gateway and is no part of the program: set-up, demo, samples."""
