"""What travels between the parts: records, windows, change events, errors and configuration."""
