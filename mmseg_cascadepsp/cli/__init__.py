"""What command lines do: arguments, checks and sentences. Heavy imports wait until work begins."""
