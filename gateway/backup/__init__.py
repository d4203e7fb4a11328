"""The state directory as one encrypted file, and back."""
