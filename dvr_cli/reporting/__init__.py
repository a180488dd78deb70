"""From measured columns to report.json and one HTML page."""
