"""What runner and builder are made of: finding, running, normalising, checking and exporting notebooks."""
