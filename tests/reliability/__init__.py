"""A share of the campaign of reliability, on every push."""
