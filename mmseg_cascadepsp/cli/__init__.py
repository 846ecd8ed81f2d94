"""What the command lines do: their arguments, checks and sentences."""
