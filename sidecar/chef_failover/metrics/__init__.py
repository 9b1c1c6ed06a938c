"""What is counted, and its ways out."""
