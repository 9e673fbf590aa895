"""What `verify` does with a program that was recorded."""
