"""Mixed traffic for as long as wanted, and what the workers hold of it afterwards."""
