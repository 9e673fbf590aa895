"""What is tried: cases by subject."""
