"""What is measured beside the races: one part of the product at a time, and only the product."""
