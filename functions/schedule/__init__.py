"""What comes round with the clock."""
