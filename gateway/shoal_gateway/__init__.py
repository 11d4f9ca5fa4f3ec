"""The only place where HTTP ends."""
